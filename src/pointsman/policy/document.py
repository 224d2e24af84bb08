"""What does the file say, and where? YAML bytes to values that know their line and column.

Stricter than YAML: UTF-8 only, one document, no tags, no duplicate keys, bounded size, depth and aliases. Plain
scalars follow the YAML 1.2 core schema (`yes`, `010` and dates are text). Nothing in a file can make Python objects.
"""

import re
from dataclasses import dataclass

import yaml

from pointsman.model.problem import Invalid, Place, Problem
from pointsman.policy.events import Reading
from pointsman.policy.node import UNSAFE, Fields, Mark, Node, Scalar, Sequence, describe, escaped, plain
from pointsman.policy.slips import slip, unspaced

MAX_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Document:
    """A file that was read: its text, where each line begins, its values, and what is wrong with its form."""

    file: str
    text: str
    root: Fields
    problems: tuple[Problem, ...]
    lines: tuple[int, ...]

    def place(self, mark: Mark) -> Place:
        """Return the place of a mark in this file."""
        return Place(self.file, *mark)

    def find(self, *path: str | int, key: bool = False) -> Place:
        """Return the place of the deepest node that a path leads to; of its key, if `key`."""
        node: Node = self.root
        mark = node.mark
        for step in path:
            if isinstance(node, Fields) and step in node.entries:
                mark = node.keys[str(step)] if key else node.entries[str(step)].mark
                node = node.entries[str(step)]
            elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
                node = node.items[step]
                mark = node.mark
            else:
                break
        return self.place(mark)

    def node(self, *path: str | int) -> Node | None:
        """Return the node at this path, if there is one."""
        node: Node | None = self.root
        for step in path:
            if isinstance(node, Fields):
                node = node.entries.get(str(step))
            elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
                node = node.items[step]
            else:
                return None
        return node


def read(data: bytes, file: str) -> Document:
    """Read a file, or raise `Invalid` where nothing of it can be judged."""
    text = _text(data, file)
    reading = Reading(file)
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            reading.take(event)
    except yaml.MarkedYAMLError as error:
        raise Invalid([*reading.problems, _syntax(error, file, text)]) from error
    except yaml.YAMLError as error:
        raise Invalid([Problem(Place(file), "yaml", f"is not YAML: {error}")]) from error
    root = reading.root
    if not isinstance(root, Fields):
        place = Place(file, *root.mark) if root else Place(file)
        found = describe(plain(root)) if root and plain(root) is not None else "nothing"
        raise Invalid(
            [
                *reading.problems,
                Problem(
                    place,
                    "not-a-mapping",
                    f"expected a mapping, found {found}",
                    (unspaced(root.raw) if isinstance(root, Scalar) and not root.style else "")
                    or "a file of ours starts with `apiVersion: pointsman/v1` and its `kind`",
                ),
            ]
        )
    lines = (0, *(found.end() for found in re.finditer("\n", text)))
    return Document(file, text, root, tuple(reading.problems), lines)


def names_in(document: Document, section: str) -> list[str]:
    """Return the names that a section declares, however broken the rest of it is."""
    node = document.node(section)
    content = plain(node) if node is not None else None
    items = content if isinstance(content, list) else []
    return [item["name"] for item in items if isinstance(item, dict) and isinstance(item.get("name"), str)]  # type: ignore[misc]


def keys_in(document: Document, section: str) -> list[str]:
    """Return the keys that a section declares, however broken the rest of it is."""
    node = document.node(section)
    return list(node.entries) if isinstance(node, Fields) else []


def _text(data: bytes, file: str) -> str:
    if len(data) > MAX_BYTES:
        size = f"{len(data) / 1024 / 1024:.0f} MB"
        raise Invalid(
            [
                Problem(
                    Place(file),
                    "too-large",
                    f"has {size}, more than the {MAX_BYTES // 1024 // 1024} MB that a policy may have",
                )
            ]
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        problem = Problem(
            Place(file, line, column),
            "not-utf8",
            f"byte 0x{data[error.start]:02x} is not UTF-8",
            "save the file as UTF-8",
        )
        raise Invalid([problem]) from error
    found = [] if text.isascii() and text.isprintable() else list(UNSAFE.finditer(text))
    if found:
        raise Invalid(
            Problem(
                Place(file, text.count("\n", 0, match.start()) + 1, match.start() - text.rfind("\n", 0, match.start())),
                "unsafe-character",
                f"character U+{ord(match.group()):04X} is not allowed in a policy",
                "it is invisible or changes how the text reads; remove it",
            )
            for match in found[:20]
        )
    return text


def _syntax(error: yaml.MarkedYAMLError, file: str, text: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    what, context = error.problem or "syntax error", error.context or ""
    if mark:
        begun = error.context_mark.index if error.context_mark else mark.index
        found = slip(what, context, text, mark.index, begun)
        if found:
            line, start = text.count("\n", 0, found.at) + 1, text.rfind("\n", 0, found.at) + 1
            return Problem(Place(file, line, found.at - start + 1), "yaml", found.what, found.hint)
    place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
    return Problem(place, "yaml", f"is not YAML: {escaped(f'{what} {context}'.rstrip())}")
