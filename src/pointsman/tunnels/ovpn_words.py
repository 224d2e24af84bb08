"""Splits an .ovpn file into directives and inline blocks, the way openvpn(8) does, with the place of each."""

from collections.abc import Iterator
from dataclasses import dataclass

from pointsman.model.problem import Place, Problem

_LONGEST_LINE = 4096


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive: its name, its arguments, or the text between `<name>` and `</name>`."""

    name: str
    words: tuple[str, ...]
    block: str | None
    place: Place


def read_directives(text: str, file: str, problems: list[Problem]) -> Iterator[Directive]:
    """Yield the directives of a file in order; what cannot be read becomes a problem."""
    lines = enumerate(text.removeprefix("\ufeff").split("\n"), 1)
    for number, raw in lines:
        line = raw.rstrip("\r")
        place = Place(file, number, len(line) - len(line.lstrip()) + 1)
        if len(line) > _LONGEST_LINE or any(not letter.isprintable() and letter != "\t" for letter in line):
            problems.append(Problem(place, "ovpn-syntax", "the line is too long or holds unprintable characters"))
            continue
        words = split_words(line)
        if words is None:
            problems.append(Problem(place, "ovpn-syntax", "a quote is not closed", "close it on the same line"))
            continue
        if not words:
            continue
        name = words[0].removeprefix("--")
        if len(words) == 1 and name.startswith("<") and name.endswith(">"):
            tag = name[1:-1]
            body = _block(lines, tag)
            if not _is_name(tag) or body is None:
                hint = f"end it with `</{tag}>`" if _is_name(tag) else "see INLINE FILE SUPPORT in openvpn(8)"
                problems.append(Problem(place, "ovpn-syntax", "an inline block is not closed or has no name", hint))
                continue
            yield Directive(tag, (), body, place)
        elif not _is_name(name):
            # never repeated: it may be a piece of a key that slipped out of its block
            problems.append(Problem(place, "ovpn-syntax", "the line is no directive", "see openvpn(8)"))
        else:
            yield Directive(name, tuple(words[1:]), None, place)


def split_words(line: str) -> list[str] | None:
    """Return the words of a line, or None where a quote is left open.

    Single quotes keep everything, double quotes know the backslash; `#` and `;` start a comment at a word's start.
    """
    words: list[str] = []
    word = ""
    inside = False
    quote = ""
    letters = iter(line)
    for letter in letters:
        if quote and letter == quote:
            quote = ""
        elif letter == "\\" and quote != "'":
            word, inside = word + next(letters, ""), True
        elif quote:
            word += letter
        elif letter.isspace():
            words.extend([word] if inside else [])
            word, inside = "", False
        elif not inside and letter in "#;":
            return words
        elif letter in "\"'":
            quote, inside = letter, True
        else:
            word, inside = word + letter, True
    if quote:
        return None
    return [*words, word] if inside else words


def _block(lines: Iterator[tuple[int, str]], tag: str) -> str | None:
    body: list[str] = []
    for _, raw in lines:
        if raw.strip() == f"</{tag}>":
            return "".join(line + "\n" for line in body)
        body.append(raw.rstrip("\r"))
    return None


def _is_name(text: str) -> bool:
    return (
        0 < len(text) <= 32
        and text.isascii()
        and text.replace("-", "").replace("_", "").isalnum()
        and text[0].isalpha()
    )
