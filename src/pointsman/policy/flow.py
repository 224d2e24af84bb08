"""What does a policy say to plain TCP flows? They show nothing but address, port and user."""

from collections.abc import Callable

from pointsman.model.attribute import Value
from pointsman.model.context import Absent
from pointsman.model.diagram import Node
from pointsman.policy.build import FREE, Builder, either
from pointsman.policy.context import attributes_of
from pointsman.policy.diagram import Compiled, items_of, known
from pointsman.policy.implied import judge_value
from pointsman.policy.restrict import restrict
from pointsman.policy.simplify import Conditions
from pointsman.policy.split import settle, size

# What the kernel knows of a plain TCP flow.
_KERNEL = frozenset({"destination.name", "destination.address", "destination.port", "process.uid"})


def flows(compiled: Compiled) -> Callable[[tuple[str, ...]], Node]:
    """Return a function from the destinations that a plain TCP flow fits to the diagram that decides it.

    The diagram asks for address, port and user alone, and has no `Prefixes` and no `Next` in it. Where several
    destinations fit, what it decides holds for each of them.
    """
    policy = compiled.policy
    attributes = {attribute.name: attribute for attribute in attributes_of(policy)}
    conditions = Conditions(attributes.values())
    start, unknown = known(conditions, items_of(conditions, policy.rules), compiled.given)
    start = settle(conditions, start, "request.protocol", judge_value("tcp"))
    builder = Builder(conditions, tuple(rule.profile for rule in policy.rules), compiled.order, flat=True)
    gone: dict[str, Value | Absent] = {
        name: Absent("a plain TCP flow has none")
        for name in attributes
        if name not in _KERNEL and name not in compiled.given and name != "request.protocol"
    }

    def toward(destinations: tuple[str, ...]) -> Node:
        names = destinations or ("",)
        there = [settle(conditions, start, "destination.name", judge_value(name)) for name in names]
        state = there[0] if len(there) == 1 else either(start, there)._replace(whole=None)
        missing = unknown or ("destination.name" if len(names) > 1 else "")
        for name, fact in gone.items():
            ended = builder.end(state, missing)
            if ended is not None:
                return ended
            if size(state) > 4 * FREE:
                return builder.doubt(state, missing)
            state, why = known(conditions, state, {name: fact})
            missing = missing or why
        node = builder.grow(state, 0, 4 * FREE, missing)
        for name, fact in gone.items():
            node = restrict(node, attributes[name], fact)
        return node

    return toward
