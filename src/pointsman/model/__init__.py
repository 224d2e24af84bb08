"""Frozen values that every part speaks. Nothing in here does input or output."""
