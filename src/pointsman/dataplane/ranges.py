"""Whole numbers as text: which patterns match exactly those that are large enough."""

from pointsman.dataplane.numbers import between

# Numbers in a token or header are exact up to here (IEEE 754 double precision); larger ones count as absent.
LARGEST = 2**53 - 1


def at_least(bound: int) -> str | None:
    """Return a pattern for the decimal numbers from `bound` to the largest; None where there are none."""
    if bound > LARGEST:
        return None
    if bound > 0:
        return between(bound, LARGEST)
    if bound == 0:
        return between(0, LARGEST)
    return f"(?:{between(0, LARGEST)}|-{between(1, min(-bound, LARGEST))})"


ANY = at_least(-LARGEST) or ""
