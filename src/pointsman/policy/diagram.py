"""From rules in order to a decision diagram: looking up replaces searching, and absence is decided beforehand.

Never larger than `budget` leaves when all sharing is undone (Envoy shares nothing): where a branching would multiply
common rules, those rules are listed in order instead, in as few blocks as possible.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pointsman.model.attribute import AbsentValue, Attribute, NodeFact, Value
from pointsman.model.context import Absent
from pointsman.model.diagram import Node
from pointsman.model.policy import Policy, Rule
from pointsman.policy.build import FREE, PER_RULE, Builder, either
from pointsman.policy.context import attributes_of, usable
from pointsman.policy.cost import cost
from pointsman.policy.implied import judge_value
from pointsman.policy.index import Items
from pointsman.policy.order import attribute_order
from pointsman.policy.restrict import restrict
from pointsman.policy.simplify import ALWAYS, NEVER, Conditions
from pointsman.policy.split import State, cells, settle, size, split


@dataclass(frozen=True, slots=True)
class Compiled:
    """A policy with its diagram. `given` are the facts about the node that went into it."""

    policy: Policy
    root: Node
    order: tuple[str, ...]
    given: Mapping[str, Value | Absent]


def compile_policy(
    policy: Policy, given: Mapping[str, Value | Absent] | None = None, budget: int | None = None
) -> Compiled:
    """Build the diagram of a policy for a node with these facts."""
    known: dict[str, Value | Absent] = {
        a.name: Absent("not a fact of this node") for a in attributes_of(policy) if isinstance(a.source, NodeFact)
    }
    known.update(given or {})
    root, order = _build(policy.rules, attributes_of(policy), budget, known)
    return Compiled(policy, root, order, known)


def toward(compiled: Compiled, destination: str) -> Node:
    """Return the diagram for requests to a destination, by name; empty for none that is declared."""
    attribute = next(a for a in attributes_of(compiled.policy) if a.name == "destination.name")
    return restrict(compiled.root, attribute, destination)


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
    root = Builder(conditions, outcomes, order).grow(lists, 0, allowed, missing)
    for name, fact in given.items() if missing else ():
        root = restrict(root, conditions.attributes[name], fact)
    return root, order


def items_of(conditions: Conditions, rules: Sequence[Rule]) -> State:
    """Return the rules as one list."""
    items: list[tuple[int, int]] = []
    for index, rule in enumerate(rules):
        number = conditions.add(rule.when)
        if number != NEVER:
            items.append((number, index))
        if number == ALWAYS:
            return State((tuple(items),))
    raise ValueError("the last rule of a policy must always hold")


def known(conditions: Conditions, state: State, given: Mapping[str, Value | Absent]) -> tuple[State, str]:
    """Put in facts. Where one is absent and nothing stands for it, several lists could apply; it is named."""
    missing = ""
    for name, fact in given.items():
        attribute = conditions.attributes[name]
        value = usable(attribute, fact)
        if isinstance(value, Absent) and isinstance(attribute.absent, AbsentValue):
            value = attribute.absent.value
        if not isinstance(value, Absent):
            state = settle(conditions, state, name, judge_value(value))
        elif any(conditions.mentions(number, name) for items in state.worlds for number, _ in items):
            plan = split(conditions, state, name, float("inf"))
            if plan is not None:
                state, missing = either(state, cells(plan)), missing or name
    return state, missing


def _best_order(conditions: Conditions, state: State, outcomes: tuple[str | None, ...]) -> tuple[str, ...]:
    """Return the order that unfolds to the fewest leaves, tried on a sample of the rules."""
    candidates = attribute_order(conditions, state)
    if len(candidates) == 1:
        return candidates[0]
    sample = State((_thin(state.worlds[0]),))

    def leaves(order: tuple[str, ...]) -> int:
        return cost(Builder(conditions, outcomes, order).grow(sample, 0, 64 * size(sample) + FREE, "")).leaves

    return min(candidates, key=leaves)


def _thin(items: Items, most: int = 240) -> Items:
    step = max(1, len(items) // most)
    return (*items[:-1:step], items[-1])
