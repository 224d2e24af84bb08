"""Whole numbers as text: which patterns match exactly those that are large enough."""

from pointsman.dataplane.numbers import between
from pointsman.model.attribute import LARGEST


def at_least(bound: int, after_negative: str = "") -> str | None:
    """Return a pattern for the decimal numbers from `bound` to the largest; None where there are none.

    Negative ones are followed by what fits the pattern `after_negative`.
    """
    if bound > LARGEST:
        return None
    if bound > 0:
        return between(bound, LARGEST)
    if bound == 0:
        return between(0, LARGEST)
    return f"(?:{between(0, LARGEST)}|-{between(1, min(-bound, LARGEST))}{after_negative})"
