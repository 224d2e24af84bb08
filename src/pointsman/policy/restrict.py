"""What is left of a diagram once a fact is known?"""

from pointsman.model.attribute import Attribute, Value
from pointsman.model.context import Absent
from pointsman.model.diagram import Branch, Leaf, Listing, Next, Node, Prefixes, Switch
from pointsman.model.formula import FALSE, TRUE, And, Atom, Const, Formula, Not, Or
from pointsman.policy.context import usable
from pointsman.policy.evaluate import holds

Fact = Value | Absent


def restrict(node: Node, attribute: Attribute, fact: Fact) -> Node:
    """Return the diagram for requests with this fact. A part that does not ask for it is the very same node."""
    return _Restricted(attribute.name, usable(attribute, fact)).of(node)


class _Restricted:
    """One walk over a diagram; what is shared stays shared."""

    def __init__(self, name: str, fact: Fact) -> None:
        self._name = name
        self._fact = fact
        self._done: dict[int, Node] = {}

    def of(self, node: Node) -> Node:
        """Return what is left of a node."""
        known = self._done.get(id(node))
        if known is None:
            known = self._done[id(node)] = self._left(node)
        return known

    def _left(self, node: Node) -> Node:
        match node:
            case Leaf() | Next():
                return node
            case Switch(name, cases, other, absent):
                if name == self._name:
                    return self.of(absent if isinstance(self._fact, Absent) else cases.get(self._fact, other))
                own = {value: self.of(case) for value, case in cases.items()}
                rest, without = self.of(other), self.of(absent)
                same = all(case is rest for case in (*own.values(), without))
                kept = (own, rest, without) == (cases, other, absent)
                return rest if same else node if kept else Switch(name, own, rest, without)
            case Prefixes(name, starts, lengths, other, absent):
                if name == self._name:
                    return self.of(self._by_prefix(node))
                own_starts = {text: self.of(case) for text, case in starts.items()}
                rest, without = self.of(other), self.of(absent)
                same = all(case is rest for case in (*own_starts.values(), without))
                kept = (own_starts, rest, without) == (starts, other, absent)
                return rest if same else node if kept else Prefixes(name, own_starts, lengths, rest, without)
            case Branch(atom, yes, no, absent):
                if atom.attribute == self._name:
                    fact = self._fact
                    return self.of(absent if isinstance(fact, Absent) else yes if holds(atom.test, fact) else no)
                ways = (self.of(yes), self.of(no), self.of(absent))
                same, kept = ways[0] is ways[1] is ways[2], ways == (yes, no, absent)
                return ways[0] if same else node if kept else Branch(atom, *ways)
            case Listing():
                return self._listing(node)

    def _by_prefix(self, node: Prefixes) -> Node:
        if not isinstance(self._fact, str):
            return node.absent
        fitting = (self._fact[:length] for length in node.lengths if self._fact[:length] in node.cases)
        start = next(fitting, None)
        return node.other if start is None else node.cases[start]

    def _listing(self, node: Listing) -> Node:
        kept: list[tuple[Formula, Node]] = []
        for formula, then in node.entries:
            left = substitute(formula, self._name, self._fact)
            if left == FALSE:
                continue
            rest = self.of(then)
            if not isinstance(rest, Next):
                kept.append((left, rest))
            if left == TRUE and isinstance(rest, Leaf):
                break
        else:
            kept.append((TRUE, Next()))
        if kept[0][0] == TRUE and (len(kept) == 1 or isinstance(kept[0][1], Leaf)):
            return kept[0][1]
        return node if tuple(kept) == node.entries else Listing(tuple(kept))


def substitute(formula: Formula, name: str, fact: Fact) -> Formula:
    """Put a fact into a listed condition, where a test on an absent attribute is false."""
    match formula:
        case Atom(attribute, test):
            return (
                formula if attribute != name else TRUE if not isinstance(fact, Absent) and holds(test, fact) else FALSE
            )
        case Not(part):
            inner = substitute(part, name, fact)
            return Const(not inner.value) if isinstance(inner, Const) else Not(inner)
        case And(parts) | Or(parts):
            final = isinstance(formula, Or)
            left = [substitute(part, name, fact) for part in parts]
            if Const(final) in left:
                return Const(final)
            kept = tuple(part for part in left if not isinstance(part, Const))
            return Const(not final) if not kept else kept[0] if len(kept) == 1 else type(formula)(kept)
        case Const():
            return formula
