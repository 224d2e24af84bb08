"""A pattern that is let through means the same to a reader of bytes and to one of characters, whatever the text."""

import os

import re2
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pointsman.model.formula import Matches
from pointsman.policy.evaluate import holds
from pointsman.policy.pattern import counts_bytes

CASES = int(os.environ.get("READERS_PATTERNS", "2000"))
PARTS = (
    *(
        "a",
        "k",
        "/",
        "\u00fc",
        "\u20ac",
        "[a-c]",
        "[^/]",
        "[^\u00fc]",
        "[\u00fc-\u20ac]",
        "[[:^alpha:]]",
        "[[:alpha:]]",
    ),
    *(r"\w", r"\W", r"\d", r"[\Wa]", r"\.", r"\b", r"\B", r"\pL", r"\x{fc}", r"\xfc", r"\C", r"\101", r"[^\]]", "[]a]"),
    *(".", ".", "^", "$", "|", "*", "*", "+", "+", "?", "{2}", "{1,}", "*?", "+?", "(", ")", "(?:", r"\Qa.", r"\E"),
    *("(?i)", "(?s)", "(?-i)", "(?i:", "[^]a]", "\\Q\u00fc"),
)
PATTERNS = st.lists(st.sampled_from(PARTS), min_size=1, max_size=8).map("".join)
# U+212A and U+017F are letters that fold into ASCII
TEXTS = st.text(st.sampled_from("aAbkKs\u00fc\u20ac\u017f\u212a\u00c3\u00e3/ .\n"), max_size=6)


def by_characters(pattern: str, text: str) -> bool:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options=options).search(text) is not None


def compiles(pattern: str) -> bool:
    try:
        by_characters(pattern, "")
    except re2.error:
        return False
    return True


# most random patterns are none
@settings(max_examples=CASES, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(PATTERNS, st.lists(TEXTS, min_size=1, max_size=20))
def test_what_is_let_through_reads_bytes_as_characters(pattern: str, texts: list[str]) -> None:
    assume(compiles(pattern) and not counts_bytes(pattern))
    for text in texts:
        assert holds(Matches(pattern), text) == by_characters(pattern, text), (pattern, text)
