"""From a character of a text to its place in the file, whatever way the text is quoted."""

import pytest

from pointsman.policy.document import read
from pointsman.policy.locate import locate
from pointsman.policy.node import Scalar


def place_of(text: str, word: str) -> tuple[int, int]:
    document = read(text.encode(), "p.yaml")
    scalar = document.root.entries["when"]
    assert isinstance(scalar, Scalar)
    place = locate(document, scalar, scalar.raw.index(word) if word else len(scalar.raw))
    return place.line, place.column


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("when: one X two\n", (1, 11)),
        ("# é\nwhen: é X\n", (2, 9)),
        ("when: 'it''s X'\n", (1, 14)),
        ('when: "a\\"b\\u00e9\\x41 X"\n', (1, 23)),
        ('when: "a \\\n   b X"\n', (2, 6)),
        ('when: "a\\n\\tX"\n', (1, 13)),
        ("when: one\n  two\n  X three\n", (3, 3)),
        ("when: |\n  one\n    two X\n", (3, 9)),
        ("when: |-\n\n  one\n\n  X\n", (5, 3)),
        ("when: >-  # folded\n  one\n  two X\n", (3, 7)),
        ("{a: 1, when: 'one\n  X'}\n", (2, 3)),
        ("when: |\r\n  one\r\n  X\r\n", (3, 3)),
    ],
)
def test_a_character_is_found_in_every_kind_of_scalar(text: str, place: tuple[int, int]) -> None:
    assert place_of(text, "X") == place


def test_the_end_of_a_text_is_right_after_its_last_character() -> None:
    assert place_of("when: a ==\n", "") == (1, 11)
    assert place_of("when: 'a =='\n", "") == (1, 12)
