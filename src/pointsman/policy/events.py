"""The events of the YAML parser to values, without recursion: depth is data, not stack.

Plain scalars follow the YAML 1.2 core schema: `yes`, `010` and dates are text. Tags, cycles, duplicate keys and
alias bombs are problems.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from pointsman.model.problem import Invalid, Place, Problem
from pointsman.policy.node import UNSAFE, Fields, Mark, Node, Scalar, Sequence, shown

Event = Any  # yaml's events share no type that has all their fields
MAX_DEPTH = 24
MAX_NODES = 5_000_000
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,18})")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_NUMERIC = frozenset("0123456789+-.")
_WORDS: Mapping[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(slots=True)
class _Frame:
    """A collection that is still open."""

    mark: Mark
    anchor: str | None
    before: int
    items: list[Node] | None
    entries: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Mark] = field(default_factory=dict)
    key: str | None = None
    key_mark: Mark = (0, 0)


class Reading:
    """The state of reading one stream of events."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._open: list[_Frame] = []
        self._anchors: dict[str, tuple[Node, int] | None] = {}
        self._nodes = 0
        self._documents = 0

    def take(self, event: Event) -> None:
        """Take one event of the parser."""
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._scalar(event)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            self._start(event, None if kind is yaml.MappingStartEvent else [])
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            self._end()
        elif kind is yaml.AliasEvent:
            self._alias(event)
        elif kind is yaml.DocumentStartEvent:
            self._documents += 1
            if self._documents > 1:
                self._stop(
                    _mark(event), "documents", "a second document starts here", "a policy file holds one document"
                )

    def _scalar(self, event: Event) -> None:
        mark, raw = _mark(event), event.value
        if event.tag is not None:
            self._tag(event, mark)
        if event.style:
            if not raw.isprintable() and UNSAFE.search(raw):
                self._found(
                    mark, "unsafe-character", f"text `{shown(raw)}` holds a character that is not allowed in a policy"
                )
            node = Scalar(raw, mark, raw, event.style)
        else:
            node = Scalar(self._typed(raw, mark), mark, raw)
        self._count(1, mark)
        if event.anchor:
            self._anchors[event.anchor] = (node, 1)
        self._put(node)

    def _typed(self, raw: str, mark: Mark) -> bool | int | float | str | None:
        if raw in _WORDS:
            return _WORDS[raw]
        if raw[0] in _NUMERIC:
            if _INT.fullmatch(raw):
                number = int(raw)
                return number if -(2**63) <= number < 2**63 else raw
            if _FLOAT.fullmatch(raw):
                return float(raw)
            if _NOT_FINITE.fullmatch(raw):
                self._found(
                    mark, "not-a-number", f"`{raw}` has no use in a policy", "write a whole number, or quote the text"
                )
        return raw

    def _start(self, event: Event, items: list[Node] | None) -> None:
        mark = _mark(event)
        if event.tag is not None:
            self._tag(event, mark)
        if len(self._open) >= MAX_DEPTH:
            self._stop(mark, "too-deep", f"is nested deeper than {MAX_DEPTH} levels")
        if event.anchor:
            self._anchors[event.anchor] = None
        self._open.append(_Frame(mark, event.anchor, self._nodes, items))
        self._count(1, mark)

    def _end(self) -> None:
        frame = self._open.pop()
        node: Node
        if frame.items is None:
            node = Fields(frame.entries, frame.keys, frame.mark)
        else:
            node = Sequence(tuple(frame.items), frame.mark)
        if frame.anchor:
            self._anchors[frame.anchor] = (node, self._nodes - frame.before)
        self._put(node)

    def _alias(self, event: Event) -> None:
        mark = _mark(event)
        if event.anchor not in self._anchors:
            self._stop(
                mark,
                "alias",
                f"`*{event.anchor}` is not defined",
                f"quote it if it is a text: '*{event.anchor}'; an anchor is written `&{event.anchor}` before its use",
            )
        known = self._anchors[event.anchor]
        if known is None:
            self._stop(mark, "cyclic-alias", f"`*{event.anchor}` contains itself")
            return
        node, weight = known
        self._count(weight, mark)
        self._put(node)

    def _put(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        frame = self._open[-1]
        if frame.items is not None:
            frame.items.append(node)
        elif frame.key is None:
            if not isinstance(node, Scalar):
                self._stop(node.mark, "key", "a key must be a text", "`[…]` and `{…}` cannot be keys")
                return
            frame.key, frame.key_mark = node.raw, node.mark
            if frame.key in frame.keys:
                first = Place(self.file, *frame.keys[frame.key])
                self._found(node.mark, "duplicate-key", f"key `{shown(frame.key)}` is given twice", f"first at {first}")
        else:
            if frame.key not in frame.entries:
                frame.entries[frame.key] = node
                frame.keys[frame.key] = frame.key_mark
            frame.key = None

    def _tag(self, event: Event, mark: Mark) -> None:
        self._found(
            mark,
            "tag",
            f"tag `{shown(event.tag)}` is not allowed",
            "quote a text that begins with `!`; tags have no use here",
        )

    def _count(self, nodes: int, mark: Mark) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            self._stop(mark, "too-large", f"has more than {MAX_NODES:,} values once its aliases are followed")

    def _found(self, mark: Mark, label: str, what: str, hint: str = "") -> None:
        self.problems.append(Problem(Place(self.file, *mark), label, what, hint))

    def _stop(self, mark: Mark, label: str, what: str, hint: str = "") -> None:
        self._found(mark, label, what, hint)
        raise Invalid(self.problems)


def _mark(event: Event) -> Mark:
    mark = event.start_mark
    return mark.line + 1, mark.column + 1
