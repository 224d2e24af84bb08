"""Patterns for ranges of numbers."""

import re

from hypothesis import given
from hypothesis import strategies as st

from pointsman.dataplane.numbers import between

NUMBERS = st.integers(0, 70_000)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_a_pattern_matches_exactly_the_numbers_of_its_range(one: int, two: int, number: int) -> None:
    first, last = sorted((one, two))
    pattern = re.compile(between(first, last))
    for candidate in (number, first, last, first - 1, last + 1):
        assert bool(pattern.fullmatch(str(candidate))) is (first <= candidate <= last)


def test_all_ports_fit_in_a_short_pattern() -> None:
    assert len(between(1, 65535)) < 140
