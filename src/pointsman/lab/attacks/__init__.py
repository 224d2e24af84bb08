"""Attacks on a steered instance: cases as data in `cases/`, and one runner that tries them in a lab."""
