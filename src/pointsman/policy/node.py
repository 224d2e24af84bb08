"""The values of a document, each with its line and column."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

# Control characters, line separators that editors disagree about, and what turns text around on the screen.
UNSAFE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]|\r(?!\n)"
)
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
Mark = tuple[int, int]
Plain = bool | int | float | str | None | list["Plain"] | dict[str, "Plain"]


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value. `raw` is the text before its type was read from it; `style` is the quote or block sign, if any."""

    value: bool | int | float | str | None
    mark: Mark
    raw: str = ""
    style: str = ""


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: tuple["Node", ...]
    mark: Mark


@dataclass(frozen=True, slots=True)
class Fields:
    """A mapping. `keys` says where each key stands."""

    entries: Mapping[str, "Node"]
    keys: Mapping[str, Mark]
    mark: Mark


Node = Scalar | Sequence | Fields


def plain(node: Node) -> Plain:
    """Return the bare value of a node."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return {key: plain(value) for key, value in node.entries.items()}


def describe(value: Plain) -> str:
    """Name a value in the words of a problem."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, (int, float)):
        return f"the number `{value}`"
    if isinstance(value, str):
        return f"the text `{shown(value)}`"
    return "a list" if isinstance(value, list) else "a mapping"


def shown(text: str, limit: int = 60) -> str:
    """Return text fit for a message: one line, no unsafe characters, not too long."""
    safe = escaped(text)
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


def escaped(text: str) -> str:
    """Return text on one line, with what cannot be seen written out."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _ESCAPES.get(one, f"\\u{ord(one):04x}") for one in text)
