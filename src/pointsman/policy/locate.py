"""Where in the file is this character of a text? Undoes quoting, escapes, folding and indentation."""

import re
from bisect import bisect_right

from pointsman.model.problem import Place
from pointsman.policy.document import Document
from pointsman.policy.node import Scalar

_ESCAPE = re.compile(r"\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|\r?\n[ \t]*|.)", re.DOTALL)
_BLANK_ESCAPES = frozenset(("\\n", "\\t", "\\ ", "\\r", "\\\t"))


def locate(document: Document, scalar: Scalar, offset: int) -> Place:
    """Return the place in the file of the character at `offset` of a scalar's text."""
    line, column = scalar.mark
    begin = document.lines[line - 1] + column - 1
    wanted = scalar.raw[:offset]
    position = _first(document.text, begin, scalar.style)
    for character in wanted:
        if not character.isspace():
            position = _skip_blank(document.text, position, scalar.style)
            position += _width(document.text, position, scalar.style)
    if offset < len(scalar.raw):
        position = _skip_blank(document.text, position, scalar.style)
    line = bisect_right(document.lines, position)
    return Place(document.file, line, position - document.lines[line - 1] + 1)


def _first(text: str, begin: int, style: str) -> int:
    """Return where the content begins: after the quote, or on the line after a block sign."""
    if style in ("|", ">"):
        return text.find("\n", begin) + 1 or len(text)
    return begin + 1 if style else begin


def _skip_blank(text: str, position: int, style: str) -> int:
    while position < len(text):
        if text[position].isspace():
            position += 1
        elif (
            style == '"'
            and (found := _ESCAPE.match(text, position))
            and (found.group() in _BLANK_ESCAPES or found.group()[1] in "\r\n")
        ):
            position = found.end()
        else:
            break
    return position


def _width(text: str, position: int, style: str) -> int:
    if style == "'" and text.startswith("''", position):
        return 2
    if style == '"' and (found := _ESCAPE.match(text, position)):
        return len(found.group())
    return 1
