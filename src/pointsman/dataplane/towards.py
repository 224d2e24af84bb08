"""The decision diagram seen from one destination: rules that are about other destinations are not in it."""

from pointsman.model.diagram import Leaf, Node
from pointsman.model.formula import And, Atom, Equals, Formula, Not, Or
from pointsman.policy.context import attributes_of
from pointsman.policy.diagram import Compiled, build

DESTINATION = "destination.name"


class Towards:
    """The diagrams of one policy by destination. Where no rule asks for the destination they are one and the same."""

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self._general: list[int] = []
        self._own: dict[str, list[int]] = {}
        self._mentions: set[int] = set()
        self._known: dict[str, tuple[int, ...]] = {}
        self._built: dict[tuple[str, tuple[int, ...]], Node] = {}
        for place, rule in enumerate(compiled.policy.rules):
            if _mentions(rule.when):
                self._mentions.add(place)
            names = _only_at(rule.when)
            if names is None:
                self._general.append(place)
            for name in names or ():
                self._own.setdefault(name, []).append(place)

    def diagram(self, destination: str) -> Node:
        """Return the diagram for requests to a destination, by name and empty for none that is declared."""
        if not self._mentions:
            return self._compiled.root
        places = self._places(destination)
        key = (destination if any(place in self._mentions for place in places) else "", places)
        if key not in self._built:
            rules = [self._compiled.policy.rules[place] for place in places]
            given = {**self._compiled.given, DESTINATION: destination}
            self._built[key] = build(rules, attributes_of(self._compiled.policy), given=given)
        return self._built[key]

    def place(self, destination: str, leaf: Leaf) -> Leaf:
        """Return a leaf of that diagram as one of the whole policy."""
        if not self._mentions:
            return leaf
        return Leaf(self._places(destination)[leaf.rule], leaf.absent)

    def _places(self, destination: str) -> tuple[int, ...]:
        if destination not in self._known:
            self._known[destination] = tuple(sorted(self._general + self._own.get(destination, [])))
        return self._known[destination]


def _only_at(formula: Formula) -> frozenset[str] | None:
    """Return the destinations at which alone a condition can hold; None if that is not plain to see."""
    match formula:
        case Atom(name, Equals(str(value))) if name == DESTINATION:
            return frozenset({value})
        case And(parts):
            known = [names for names in map(_only_at, parts) if names is not None]
            return frozenset.intersection(*known) if known else None
        case Or(parts):
            every = [_only_at(part) for part in parts]
            found = [names for names in every if names is not None]
            return frozenset().union(*found) if len(found) == len(every) else None
    return None


def _mentions(formula: Formula) -> bool:
    match formula:
        case Atom(name):
            return name == DESTINATION
        case Not(part):
            return _mentions(part)
        case And(parts) | Or(parts):
            return any(map(_mentions, parts))
    return False
