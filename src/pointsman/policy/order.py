"""In which order are attributes asked, and where is a list of rules cut into blocks that do not multiply?"""

from collections.abc import Sequence

from pointsman.model.attribute import Catalogue
from pointsman.model.formula import Equals, Prefix
from pointsman.policy.index import Items
from pointsman.policy.simplify import Conditions
from pointsman.policy.split import State

_FEW = 16
_GROWTH, _SLACK = 6, 64


def attribute_order(conditions: Conditions, state: State) -> tuple[tuple[str, ...], ...]:
    """Return the orders worth trying: the attributes that most rules pin to a value come first.

    The destination is always first, for it is a virtual host of the proxy. What a catalogue does not say comes last:
    by then it is known whether the place is in the catalogue at all. Attributes that are asked few questions go either
    before or after those that are asked many.
    """
    pinned: dict[str, int] = {}
    values: dict[str, set[object]] = {}
    for items in state.worlds:
        for number, _ in items:
            for name in conditions.names([(number, 0)]):
                for test in conditions.tests(number, name):
                    values.setdefault(name, set()).add(test)
                    pinned[name] = pinned.get(name, 0) + isinstance(test, (Equals, Prefix))
    used = sorted(values, key=lambda name: (-pinned[name], -len(values[name]), name))
    first = [name for name in used if name == "destination.name"]
    last = [name for name in used if isinstance(conditions.attributes[name].source, Catalogue)]
    rest = [name for name in used if name not in first and name not in last]
    few = sorted((name for name in rest if len(values[name]) <= _FEW), key=lambda name: len(values[name]))
    many = [name for name in rest if name not in few and pinned[name]]
    loose = [name for name in rest if name not in few and not pinned[name]]
    orders = ((*first, *few, *many, *loose, *last), (*first, *many, *few, *loose, *last))
    return tuple(dict.fromkeys(orders))


def blocks(conditions: Conditions, items: Items, name: str) -> Sequence[Items]:
    """Cut a list of rules into the longest blocks in which branching by the attribute does not multiply."""
    found: list[Items] = []
    start, common, named = 0, 0, 0
    values: set[object] = set()
    for place, (number, _) in enumerate(items):
        tests = {test for test in conditions.tests(number, name) if isinstance(test, (Equals, Prefix))}
        common, named = common + (not tests), named + len(tests)
        values |= tests
        if named + common * (len(values) + 1) > _GROWTH * (place - start + 1) + _SLACK:
            found.append(items[start:place])
            start, common, named, values = place, int(not tests), len(tests), set(tests)
    found.append(items[start:])
    return [block for block in found if block]
