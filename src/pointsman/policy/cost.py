"""What does a diagram cost where nothing is shared, as in the proxy, and which rules multiply?"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from pointsman.model.diagram import Branch, Leaf, Listing, Next, Node, Prefixes, Switch


@dataclass(frozen=True, slots=True)
class Cost:
    """`leaves` with all sharing undone, `nodes` as stored, `depth` in levels, `longest` list that is searched in order.

    `multiplied` has (rule, times it occurs) for the rules that occur most, more than once each.
    """

    leaves: int
    nodes: int
    depth: int
    longest: int
    multiplied: tuple[tuple[int, int], ...]


def cost(root: Node) -> Cost:
    """Count a diagram."""
    below = _below(root)
    depth: dict[int, int] = {}
    for node in below:
        depth[id(node)] = max((depth[id(child)] + 1 for child in children(node)), default=0)
    times: Counter[int] = Counter({id(root): 1})
    rules: Counter[int] = Counter()
    for node in reversed(below):
        if isinstance(node, Leaf):
            rules[node.rule] += times[id(node)]
        for child in children(node):
            times[id(child)] += times[id(node)]
    longest = max((len(node.entries) for node in below if isinstance(node, Listing)), default=0)
    multiplied = tuple((rule, count) for rule, count in rules.most_common(10) if count > 1)
    return Cost(sum(rules.values()), len(below), depth[id(root)], longest, multiplied)


def children(node: Node) -> Iterator[Node]:
    """Yield the nodes right below, each once: branches that go to the same place are one in the proxy too."""
    seen: set[int] = set()
    for child in _all_children(node):
        if id(child) not in seen:
            seen.add(id(child))
            yield child


def _all_children(node: Node) -> Iterator[Node]:
    match node:
        case Switch(_, cases, other, absent) | Prefixes(_, cases, _, other, absent):
            yield from cases.values()
            yield other
            yield absent
        case Branch(_, yes, no, absent):
            yield yes
            yield no
            yield absent
        case Listing(entries):
            for _, then in entries:
                yield then
        case Leaf() | Next():
            return


def _below(root: Node) -> list[Node]:
    """Return all nodes, each after those below it."""
    found: list[Node] = []
    seen: set[int] = set()
    waiting: list[tuple[Node, bool]] = [(root, False)]
    while waiting:
        node, done = waiting.pop()
        if done:
            found.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            waiting.append((node, True))
            waiting.extend((child, False) for child in children(node))
    return found
