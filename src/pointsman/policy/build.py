"""One node of the diagram after the other: which attribute to ask next, what is left then, and when to list instead."""

from collections.abc import Iterable, Mapping

from pointsman.model.attribute import AbsentDeny, AbsentValue
from pointsman.model.diagram import Branch, Leaf, Listing, Next, Node, Prefixes, Switch
from pointsman.model.formula import TRUE, Atom, Formula
from pointsman.policy.implied import judge_value
from pointsman.policy.order import blocks
from pointsman.policy.simplify import ALWAYS, Conditions
from pointsman.policy.split import LEVEL, ByPrefix, ByTest, ByValue, Cell, Plan, State, levels, settle, size, split

# Envoy reads at most 100 nested messages: this many are for the tree, the rest for what is around and below it.
DEPTH = 54
# Leaves per rule that a policy may unfold to, and the number below which nobody cares.
PER_RULE, FREE = 16, 4096
# What may be spent beyond that on what is said where something is absent, so that small policies need no lists for it.
# It is counted in rules of all lists that could apply, of which few leaves are left in the end.
SPARE = 2 * FREE
_NEXT = -1


def either(state: State, found: Iterable[State]) -> State:
    """Return the state in which any of these could apply; they came from the first one."""
    worlds = tuple(dict.fromkeys(items for cell in found for items in cell.worlds))
    whole = state.worlds[0] if len(state.worlds) == 1 else state.whole
    return State(worlds, whole if len(worlds) > 1 else None)


class Builder:
    """Holds what was built already, so that equal rests become one node."""

    def __init__(
        self, conditions: Conditions, outcomes: tuple[str | None, ...], order: tuple[str, ...], flat: bool = False
    ) -> None:
        """`flat`: never cut a list into blocks."""
        self._flat = flat
        self._conditions = conditions
        self._outcomes = outcomes
        self._order = order
        self._done: dict[tuple[State, str], tuple[Node, float, int]] = {}
        self._leaves: dict[tuple[int, str], Leaf] = {}
        self._next = Next()
        self._spare: float = SPARE
        self._formulas: dict[tuple[int, bool], Formula] = {}

    def grow(self, state: State, depth: int, allowed: float, missing: str) -> Node:
        """Return the diagram for lists of rules of which any could apply; `missing` says why there are several."""
        ended = self.end(state, missing)
        if ended is not None:
            return ended
        key = (state, missing if len(state.worlds) > 1 else "")
        known = self._done.get(key)
        if known is not None and known[1] <= allowed and known[2] >= depth:
            return known[0]
        asked = set(self._conditions.names(item for items in state.worlds for item in items))
        name = next(name for name in self._order if name in asked)
        plan = split(self._conditions, state, name, allowed)
        nested = {} if plan is None else levels(plan)
        if plan is None or depth + max(nested.values()) > DEPTH:
            node = self._list(state, name, depth, missing)
        else:
            # the deepest first: what is built for there fits higher up too, and so equal rests stay one node
            deepest = sorted(nested.items(), key=lambda cell: -cell[1])
            node = self._parted(plan, deepest, state, name, depth, allowed, missing)
        self._done[key] = (node, allowed, depth)
        return node

    def _parted(
        self,
        plan: Plan,
        present: list[tuple[State, int]],
        state: State,
        name: str,
        depth: int,
        allowed: float,
        missing: str,
    ) -> Node:
        without, why = self._without(state, name, [cell for cell, _ in present], missing)
        share = max(1.0, allowed / (sum(size(cell) for cell, _ in present) + size(without)))
        nodes = {cell: self.grow(cell, depth + level, share * size(cell), missing) for cell, level in present}
        absent = self.grow(without, depth + LEVEL, self._granted(without, share * size(without)), why)
        node = self._assemble(plan, name, nodes, absent)
        return node if node is absent or _asks(node, name) else Switch(name, {}, node, absent)

    def _granted(self, state: State, allowed: float) -> float:
        """Return what a state in which something is absent may unfold to: more than its share, while that lasts."""
        more = min(FREE / 4 - allowed, self._spare) if len(state.worlds) > 1 else 0
        if more <= 0:
            return allowed
        self._spare -= more
        return allowed + more

    def _without(self, state: State, name: str, present: list[State], missing: str) -> tuple[State, str]:
        """Return the lists of which any could apply where the attribute is absent."""
        absent = self._conditions.attributes[name].absent
        if isinstance(absent, AbsentValue):
            return settle(self._conditions, state, name, judge_value(absent.value)), missing
        return either(state, present), missing or name

    def _assemble(self, plan: Plan, name: str, nodes: Mapping[State, Node], absent: Node) -> Node:
        match plan:
            case Cell(state):
                return nodes[state]
            case ByValue(cases, rest):
                other = absent if rest is None else self._assemble(rest, name, nodes, absent)
                own = {key: self._assemble(case, name, nodes, absent) for key, case in cases.items()}
                own = {key: case for key, case in own.items() if case is not other}
                return Switch(name, own, other, absent) if own else other
            case ByPrefix(starts, rest):
                other = self._assemble(rest, name, nodes, absent)
                own_starts = {text: self._assemble(case, name, nodes, absent) for text, case in starts.items()}
                return _prefixes(name, own_starts, other, absent)
            case ByTest(test, if_yes, if_no):
                yes, no = self._assemble(if_yes, name, nodes, absent), self._assemble(if_no, name, nodes, absent)
                return yes if yes is no else Branch(Atom(name, test), yes, no, absent)

    def end(self, state: State, missing: str) -> Node | None:
        """Return the leaf where nothing is open any more."""
        if len(state.worlds) == 1:
            number, rule = state.worlds[0][0]
            return self._leaf(rule) if number == ALWAYS else None
        decided = {self._outcome(items[0][1]) for items in state.worlds if items[0][0] == ALWAYS}
        possible: set[str | Next | None] = set()
        if len(decided) == 1 and None not in decided:
            possible = {self._outcome(rule) for items in state.worlds for _, rule in items}
            return self._leaf(self._first(state)) if possible == decided and self._next not in decided else None
        return self.doubt(state, missing) if decided else None

    def doubt(self, state: State, missing: str) -> Node:
        """Return the deny where absence leaves several outcomes open; a plain one where all of them deny."""
        outcomes = {self._outcome(rule) for items in state.worlds for _, rule in items}
        return self._leaf(self._first(state), "" if outcomes == {None} else missing)

    def _list(self, state: State, name: str, depth: int, missing: str) -> Node:
        if len(state.worlds) > 1 and state.whole is None:
            return self.doubt(state, missing)
        items = state.worlds[0] if state.whole is None else state.whole
        # what is absent would be asked again in a block
        flat = self._flat or state.whole is not None or depth + LEVEL >= DEPTH
        parts = (items,) if flat else blocks(self._conditions, items, name)
        entries: list[tuple[Formula, Node]] = []
        for part in parts:
            if len(part) < 4 or len(parts) == 1:
                entries += [entry for item in part for entry in self._entries(*item)]
            else:
                tail = () if part[-1][0] == ALWAYS else ((ALWAYS, _NEXT),)
                entries.append(
                    (TRUE, self.grow(State(((*part, *tail),)), depth + LEVEL, PER_RULE * len(part), missing))
                )
        return Listing(tuple(entries))

    def _entries(self, number: int, rule: int) -> list[tuple[Formula, Node]]:
        surely, perhaps = self._formula(number, True), self._formula(number, False)
        if surely == perhaps:
            return [(surely, self._leaf(rule))]
        doubtful = [n for n in self._order if isinstance(self._conditions.attributes[n].absent, AbsentDeny)]
        why = self._conditions.first_mentioned(number, doubtful)
        return [(surely, self._leaf(rule)), (perhaps, self._leaf(rule, why))]

    def _formula(self, number: int, surely: bool) -> Formula:
        key = (number, surely)
        if key not in self._formulas:
            self._formulas[key] = self._conditions.explicit(number, surely)
        return self._formulas[key]

    def _first(self, state: State) -> int:
        return min((items[0][1] for items in state.worlds if items[0][1] != _NEXT), default=len(self._outcomes) - 1)

    def _outcome(self, rule: int) -> str | Next | None:
        return self._next if rule == _NEXT else self._outcomes[rule]

    def _leaf(self, rule: int, absent: str = "") -> Node:
        if rule == _NEXT:
            return self._next
        return self._leaves.setdefault((rule, absent), Leaf(rule, absent))


def _asks(node: Node, name: str) -> bool:
    return (node.atom.attribute if isinstance(node, Branch) else getattr(node, "attribute", "")) == name


def _prefixes(name: str, cases: Mapping[str, Node], other: Node, absent: Node) -> Node:
    """Return the branching without the cases that go where the next shorter one goes anyway."""
    kept: dict[str, Node] = {}
    for text in sorted(cases, key=len):
        shorter = next((text[:n] for n in range(len(text) - 1, 0, -1) if text[:n] in kept), None)
        if cases[text] is not (other if shorter is None else kept[shorter]):
            kept[text] = cases[text]
    lengths = tuple(sorted({len(text) for text in kept}, reverse=True))
    return Prefixes(name, kept, lengths, other, absent) if kept else other
