"""The diagram as the proxy can ask it: users are known there by the class that their entry port shows."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from pointsman.model.diagram import Branch, Leaf, Listing, Next, Node, Prefixes, Switch
from pointsman.model.formula import And, AtLeast, Atom, Equals, Formula, Not, Or
from pointsman.model.policy import Policy
from pointsman.model.problem import Invalid, Place, Problem

USER = "process.uid"


class Classes:
    """Rewrites diagrams from users to classes. Shared nodes stay shared."""

    def __init__(self, classes: Mapping[int, int]) -> None:
        self._classes = classes
        self._done: dict[int, tuple[Node, Node]] = {}

    def rewrite(self, node: Node) -> Node:
        """Return the same diagram over classes."""
        if id(node) not in self._done:
            self._done[id(node)] = (node, self._rewritten(node))
        return self._done[id(node)][1]

    def _rewritten(self, node: Node) -> Node:
        match node:
            case Leaf() | Next():
                return node
            case Switch(attribute, cases, other, absent):
                return Switch(
                    attribute,
                    {
                        self._class(value) if attribute == USER else value: self.rewrite(then)
                        for value, then in cases.items()
                    },
                    self.rewrite(other),
                    self.rewrite(absent),
                )
            case Prefixes(attribute, starts, lengths, other, absent):
                rewritten = {start: self.rewrite(then) for start, then in starts.items()}
                return Prefixes(attribute, rewritten, lengths, self.rewrite(other), self.rewrite(absent))
            case Branch(atom, yes, no, absent):
                return Branch(self._atom(atom), self.rewrite(yes), self.rewrite(no), self.rewrite(absent))
            case Listing(entries):
                return Listing(tuple((self._formula(asked), self.rewrite(then)) for asked, then in entries))

    def _formula(self, formula: Formula) -> Formula:
        match formula:
            case Atom():
                return self._atom(formula)
            case Not(part):
                return Not(self._formula(part))
            case And(parts):
                return And(tuple(self._formula(part) for part in parts))
            case Or(parts):
                return Or(tuple(self._formula(part) for part in parts))
            case _:
                return formula

    def _atom(self, atom: Atom) -> Atom:
        if atom.attribute != USER:
            return atom
        if isinstance(atom.test, AtLeast):
            what = f"`{USER}` is compared with a range at {atom.test.bound}"
            raise Invalid([Problem(Place(), "user-range", what, f"name the users: `{USER} in [1001, 1002]`")])
        return replace(atom, test=Equals(self._class(atom.test.value))) if isinstance(atom.test, Equals) else atom

    def _class(self, uid: object) -> int:
        return self._classes.get(uid, 0) if isinstance(uid, int) else 0


def named(policy: Policy) -> frozenset[int]:
    """Return the users that some rule names: each of them needs entries of its own."""
    return frozenset(uid for rule in policy.rules for uid in _named(rule.when))


def _named(formula: Formula) -> Iterable[int]:
    match formula:
        case Atom(name, Equals(int(value))) if name == USER:
            yield value
        case Not(part):
            yield from _named(part)
        case And(parts) | Or(parts):
            for part in parts:
                yield from _named(part)
