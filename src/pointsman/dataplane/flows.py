"""The decision diagram of plain TCP flows as nftables chains: what the kernel knows of a connection decides its lane.

The kernel knows address, port and user. A test on anything else takes the diagram's own branch for the absent; inside
a `Listing`, where there is none, the flow is refused. Chains are entered by `goto`, and the kernel allows 16 of them in
a row: so "no" goes on in the same chain, and only "yes" opens another.
"""

from collections.abc import Callable, Iterator, Mapping

from pointsman.dataplane.nftables import Chain, by_version, version
from pointsman.model.attribute import Value
from pointsman.model.diagram import Branch, Leaf, Listing, Node, Switch
from pointsman.model.formula import And, AtLeast, Atom, Const, Equals, Formula, Not, Or, Within

ADDRESS = "destination.address"
PORT = "destination.port"
USER = "process.uid"
_KEYS = {PORT: "tcp dport", USER: "meta skuid"}

# How many ways to satisfy one listed condition are written out before the flow is refused instead.
_WAYS = 256

Way = tuple[str, ...]


class Walk:
    """The chains of all diagrams of one rule set. A node that is shared becomes one chain."""

    def __init__(self, target: Callable[[Leaf], str]) -> None:
        """`target` returns the name of the chain that a leaf's flows go to."""
        self._target = target
        self._names: dict[int, str] = {}
        self._kept: list[Node] = []
        self.chains: list[Chain] = []
        self.unwritten: list[str] = []

    def enter(self, node: Node) -> str:
        """Return the name of the chain that decides this diagram's flows."""
        if isinstance(node, Leaf):
            return self._target(node)
        if id(node) not in self._names:
            name = self._names[id(node)] = f"n{len(self._names)}"
            self._kept.append(node)
            self.chains.append(Chain(name, tuple(self._rules(node))))
        return self._names[id(node)]

    def _rules(self, node: Node) -> Iterator[str]:
        """Yield the rules of a node and of all its "no" branches; the last one always goes somewhere."""
        while True:
            match node:
                case Switch(attribute, cases, other, absent):
                    if attribute not in (ADDRESS, PORT, USER):
                        node = absent
                        continue
                    yield from self._cases(attribute, cases)
                    node = other
                case Branch(atom, yes, no, absent):
                    if atom.attribute not in (ADDRESS, PORT, USER):
                        node = absent
                        continue
                    for way in _literal(atom, True):
                        yield _rule(way, self.enter(yes))
                    node = no
                case Listing(entries):
                    yield from self._listed(entries)
                    return
                case Leaf():
                    yield f"goto {self._target(node)}"
                    return

    def _cases(self, attribute: str, cases: Mapping[Value, Node]) -> Iterator[str]:
        items = [(str(value), self.enter(then)) for value, then in cases.items()]
        if attribute != ADDRESS:
            if items:
                yield f"{_KEYS[attribute]} vmap {_verdicts(sorted(items, key=lambda item: int(item[0])))}"
            return
        names = dict(items)
        for family, key in ((4, "ip daddr"), (6, "ip6 daddr")):
            if chosen := by_version(names, family):
                yield f"{key} vmap {_verdicts([(text, names[text]) for text in chosen])}"

    def _listed(self, entries: tuple[tuple[Formula, Node], ...]) -> Iterator[str]:
        for condition, then in entries:
            ways = _ways(condition, True)
            if ways is None or len(ways) > _WAYS:
                self.unwritten.append(f"{condition!r}"[:200])
                yield f"goto {REFUSED}"
                return
            for way in ways:
                yield _rule(way, self.enter(then))
            if () in ways:
                return
        yield f"goto {REFUSED}"


REFUSED = "refused"


def _rule(way: Way, name: str) -> str:
    return " ".join((*way, f"goto {name}"))


def _verdicts(items: list[tuple[str, str]]) -> str:
    return "{ " + ", ".join(f"{value} : goto {name}" for value, name in items) + " }"


def _ways(formula: Formula, wanted: bool) -> list[Way] | None:
    """Return the rules' matches under which the formula is as wanted, or None if the kernel cannot tell."""
    match formula:
        case Const(value):
            return [()] if value is wanted else []
        case Not(part):
            return _ways(part, not wanted)
        case Atom():
            return _literal(formula, wanted) if formula.attribute in (ADDRESS, PORT, USER) else None
        case And(parts) | Or(parts):
            every = [_ways(part, wanted) for part in parts]
            if any(ways is None for ways in every):
                return None
            known = [ways for ways in every if ways is not None]
            return _all(known) if isinstance(formula, And) is wanted else [way for ways in known for way in ways]


def _all(parts: list[list[Way]]) -> list[Way]:
    """Return the conjunctions of one way of each part. Ways that ask for both families at once are left out."""
    found: list[Way] = [()]
    for ways in parts:
        found = [_joined(left, right) for left in found for right in ways if not _contradict(left, right)]
        if len(found) > _WAYS:
            break
    return found


def _joined(left: Way, right: Way) -> Way:
    return (*left, *(match for match in right if match not in left))


def _contradict(left: Way, right: Way) -> bool:
    def family(way: Way) -> set[int]:
        return {6 if match.startswith(("ip6 ", "meta nfproto ipv6")) else 4 for match in way if _of_address(match)}

    return len(family(left) | family(right)) > 1


def _of_address(match: str) -> bool:
    return match.startswith(("ip ", "ip6 ", "meta nfproto "))


def _literal(atom: Atom, wanted: bool) -> list[Way]:
    """Return the matches of one test. "Not in this IPv4 network" also holds for everything in IPv6."""
    match atom.test:
        case Within(text) | Equals(str(text)) if atom.attribute == ADDRESS:
            mine, theirs = ("ip", "ipv6") if version(text) == 4 else ("ip6", "ipv4")
            if wanted:
                return [(f"{mine} daddr {text}",)]
            return [(f"meta nfproto {theirs}",), (f"{mine} daddr != {text}",)]
        case Equals(value) if atom.attribute in _KEYS:
            return [(f"{_KEYS[atom.attribute]} {'' if wanted else '!= '}{value}",)]
        case AtLeast(bound) if atom.attribute in _KEYS:
            return _at_least(_KEYS[atom.attribute], bound, 0xFFFF if atom.attribute == PORT else 0xFFFFFFFE, wanted)
    # A test that this attribute's type does not have: never true, as the reference evaluates it.
    return [] if wanted else [()]


def _at_least(key: str, bound: int, most: int, wanted: bool) -> list[Way]:
    if bound <= 0 or bound > most:
        return [()] if (bound <= 0) is wanted else []
    return [(f"{key} {'>=' if wanted else '<'} {bound}",)]
