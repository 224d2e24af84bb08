"""From rules in order to a decision diagram: looking up replaces searching, and absence is decided beforehand.

Never larger than `budget` leaves when all sharing is undone (Envoy shares nothing): where a branching would multiply
common rules, those rules are listed in order instead, in as few blocks as possible.
"""

from dataclasses import dataclass
from typing import Iterable, Mapping, Sequence

from pointsman.model.attribute import AbsentDeny, AbsentValue, Attribute, NodeFact, Value
from pointsman.model.context import Absent
from pointsman.model.diagram import Branch, Leaf, Listing, Next, Node, Prefixes, Switch
from pointsman.model.formula import TRUE, Atom, Formula
from pointsman.model.policy import Policy, Rule
from pointsman.policy.context import attributes_of, usable
from pointsman.policy.cost import cost
from pointsman.policy.order import attribute_order, blocks
from pointsman.policy.simplify import ALWAYS, NEVER, Conditions, judge_value
from pointsman.policy.split import ByPrefix, ByTest, ByValue, Cell, Items, Plan, State, cells, distinct, height, settle, size, split

# Envoy reads at most 100 nested messages: this many are for the tree, the rest for what is around and below it.
DEPTH = 54
# Leaves per rule that a policy may unfold to, and the number below which nobody cares.
PER_RULE, FREE = 16, 4096
_NEXT = -1


@dataclass(frozen=True, slots=True)
class Compiled:
    """A policy with its diagram. `given` are the facts about the node that went into it."""

    policy: Policy
    root: Node
    order: tuple[str, ...]
    given: Mapping[str, Value | Absent]


def compile_policy(policy: Policy, given: Mapping[str, Value | Absent] | None = None, budget: int | None = None) -> Compiled:
    """Build the diagram of a policy for a node with these facts."""
    known: dict[str, Value | Absent] = {
        a.name: Absent("not a fact of this node") for a in attributes_of(policy) if isinstance(a.source, NodeFact)
    }
    known.update(given or {})
    root, order = _build(policy.rules, attributes_of(policy), budget, known)
    return Compiled(policy, root, order, known)


def build(
    rules: Sequence[Rule],
    attributes: Iterable[Attribute],
    budget: int | None = None,
    given: Mapping[str, Value | Absent] | None = None,
) -> Node:
    """Return the diagram of rules, of which the first that holds decides; the last one always holds."""
    return _build(rules, attributes, budget, given or {})[0]


def _build(
    rules: Sequence[Rule],
    attributes: Iterable[Attribute],
    budget: int | None,
    given: Mapping[str, Value | Absent],
) -> tuple[Node, tuple[str, ...]]:
    conditions = Conditions(attributes)
    lists, missing = known(conditions, items_of(conditions, rules), given)
    allowed = budget if budget is not None else max(FREE, PER_RULE * len(rules))
    outcomes = tuple(rule.profile for rule in rules)
    order = _best_order(conditions, lists, outcomes)
    return Builder(conditions, outcomes, order).grow(lists, 0, allowed, missing), order


def items_of(conditions: Conditions, rules: Sequence[Rule]) -> State:
    items: list[tuple[int, int]] = []
    for index, rule in enumerate(rules):
        number = conditions.add(rule.when)
        if number != NEVER:
            items.append((number, index))
        if number == ALWAYS:
            return (tuple(items),)
    raise ValueError("the last rule of a policy must always hold")


def known(conditions: Conditions, state: State, given: Mapping[str, Value | Absent]) -> tuple[State, str]:
    """Put in facts; where one is absent and nothing stands for it, several lists could apply, and its name is returned."""
    missing = ""
    for name, fact in given.items():
        attribute = conditions.attributes[name]
        value = usable(attribute, fact)
        if isinstance(value, Absent) and isinstance(attribute.absent, AbsentValue):
            value = attribute.absent.value
        if not isinstance(value, Absent):
            state = settle(conditions, state, name, judge_value(value))
        elif any(conditions.mentions(number, name) for items in state for number, _ in items):
            whole = split(conditions, state, name, float("inf"))
            if whole is not None:
                state, missing = distinct(items for cell in cells(whole) for items in cell), missing or name
    return state, missing


def _best_order(conditions: Conditions, state: State, outcomes: tuple[str | None, ...]) -> tuple[str, ...]:
    """Return the order that unfolds to the fewest leaves, tried on a sample of the rules."""
    candidates = attribute_order(conditions, state)
    if len(candidates) == 1:
        return candidates[0]
    sample = tuple(_thin(items) for items in state[:1])

    def leaves(order: tuple[str, ...]) -> int:
        return cost(Builder(conditions, outcomes, order).grow(sample, 0, 64 * size(sample) + FREE, "")).leaves

    return min(candidates, key=leaves)


def _thin(items: Items, most: int = 240) -> Items:
    step = max(1, len(items) // most)
    return (*items[:-1:step], items[-1])


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
        self._formulas: dict[tuple[int, bool], Formula] = {}

    def grow(self, state: State, depth: int, allowed: float, missing: str) -> Node:
        """Return the diagram for lists of rules of which any could apply; `missing` says why there are several."""
        ended = self.end(state, missing)
        if ended is not None:
            return ended
        key = (state, missing if len(state) > 1 else "")
        known = self._done.get(key)
        if known is not None and known[1] <= allowed and known[2] >= depth:
            return known[0]
        name = next(n for n in self._order if any(self._conditions.mentions(i[0], n) for items in state for i in items))
        plan = split(self._conditions, state, name, allowed)
        if plan is None or depth + height(plan) > DEPTH:
            node = self._list(state, name, depth, missing)
        else:
            node = self._parted(plan, state, name, depth + max(6, height(plan)), allowed, missing)
        self._done[key] = (node, allowed, depth)
        return node

    def _parted(self, plan: Plan, state: State, name: str, depth: int, allowed: float, missing: str) -> Node:
        present = list(dict.fromkeys(cells(plan)))
        without, why = self._without(state, name, present, missing)
        share = max(1.0, allowed / (sum(map(size, present)) + size(without)))
        if len(without) > 1 and size(without) > max(FREE, allowed):
            absent = self.doubt(without, why)
        else:
            absent = self.grow(without, depth, share * size(without), why)
        nodes = {cell: self.grow(cell, depth, share * size(cell), missing) for cell in present}
        node = self._assemble(plan, name, nodes, absent)
        return node if node is absent or _asks(node, name) else Switch(name, {}, node, absent)

    def _without(self, state: State, name: str, present: list[State], missing: str) -> tuple[State, str]:
        """Return the lists of which any could apply where the attribute is absent."""
        absent = self._conditions.attributes[name].absent
        if isinstance(absent, AbsentValue):
            return settle(self._conditions, state, name, judge_value(absent.value)), missing
        return distinct(items for cell in present for items in cell), missing or name

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
        if len(state) == 1:
            number, rule = state[0][0]
            return self._leaf(rule) if number == ALWAYS else None
        decided = {self._outcome(items[0][1]) for items in state if items[0][0] == ALWAYS}
        possible: set[str | None | Next] = set()
        if len(decided) == 1 and None not in decided:
            possible = {self._outcome(rule) for items in state for _, rule in items}
            return self._leaf(self._first(state)) if possible == decided and self._next not in decided else None
        return self.doubt(state, missing) if decided else None

    def doubt(self, state: State, missing: str) -> Node:
        """Return the deny where absence leaves several outcomes open; a plain one where all of them deny."""
        outcomes = {self._outcome(rule) for items in state for _, rule in items}
        return self._leaf(self._first(state), "" if outcomes == {None} else missing)

    def _list(self, state: State, name: str, depth: int, missing: str) -> Node:
        if len(state) > 1:
            return self.doubt(state, missing)
        (items,) = state
        parts = blocks(self._conditions, items, name) if depth + 6 < DEPTH and not self._flat else (items,)
        entries: list[tuple[Formula, Node]] = []
        for part in parts:
            if len(part) < 4 or len(parts) == 1:
                entries += [entry for item in part for entry in self._entries(*item)]
            else:
                tail = () if part[-1][0] == ALWAYS else ((ALWAYS, _NEXT),)
                entries.append((TRUE, self.grow(((*part, *tail),), depth + 6, PER_RULE * len(part), missing)))
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
        return min((items[0][1] for items in state if items[0][1] != _NEXT), default=len(self._outcomes) - 1)

    def _outcome(self, rule: int) -> "str | None | Next":
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
