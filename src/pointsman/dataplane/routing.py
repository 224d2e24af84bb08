"""Which routing tables and rules the lanes need, and the steps from what is there to what should be.

Each tunnel's table ends in `unreachable`, in both families: a lookup with one of its marks never falls through to the
main table. What is bound to a tunnel's device goes into it or nowhere, whatever became of its mark: so a packet whose
mark was changed comes as far as the guard, which counts it. Every step may be carried out twice, and after any of
them no packet finds a wider way than before.
"""

from collections.abc import Iterable

from pointsman.model.routing import (
    BOUND_PREFERENCE,
    DEVICE_METRIC,
    FAMILIES,
    PREFERENCES,
    TABLES,
    UNREACHABLE_METRIC,
    Bound,
    Drop,
    Put,
    Route,
    Routing,
    Rule,
    Step,
)
from pointsman.model.tunnel import Lane, Tunnel


def want_routing(tunnels: Iterable[Tunnel], lanes: Iterable[Lane], mask: int) -> Routing:
    """Return what the lanes need. A tunnel in the main table (`direct`) gets rules but no routes of ours.

    A tunnel without an address of a family has no way there: its table says `unreachable` at once.
    """
    tunnels = tuple(tunnels)
    tables = {tunnel.name: tunnel.table for tunnel in tunnels}
    shift = (mask & -mask).bit_length() - 1
    routes: set[Route] = set()
    bound: set[Bound] = set()
    for tunnel in tunnels:
        if tunnel.table not in TABLES:
            continue
        versions = {6 if ":" in source else 4 for source in tunnel.sources}
        for family in FAMILIES:
            routes.add(Route(tunnel.table, family, "", UNREACHABLE_METRIC))
            if family in versions:
                routes.add(Route(tunnel.table, family, tunnel.device, DEVICE_METRIC))
        # over IPv4 the kernel takes what is bound to a device for on link, where it finds no route
        if 6 in versions:
            bound.add(Bound(BOUND_PREFERENCE, 6, tunnel.device, tunnel.table))
    rules = {
        Rule(PREFERENCES[lane.mark >> shift], family, lane.mark, mask, tables[lane.tunnel])
        for lane in lanes
        if lane.tunnel in tables
        for family in FAMILIES
    }
    return Routing(frozenset(routes), frozenset(rules | bound))


def routing_steps(want: Routing, have: Routing) -> tuple[Step, ...]:
    """Return the steps: dead ends first, then the rules that lead there, then the ways on; taken down in reverse.

    So a mark never finds the main table, whatever is still missing. A way that moves to another device is there
    before the old one goes.
    """
    puts = [Put(part) for part in _in_order(want) if part not in have.routes | have.rules]
    drops = [Drop(part) for part in _in_order(have) if part not in want.routes | want.rules]
    return (*puts, *reversed(drops))


def _in_order(routing: Routing) -> list[Route | Rule | Bound]:
    return sorted([*routing.routes, *routing.rules], key=_place)


def _place(part: Route | Rule | Bound) -> tuple[int, int, int, str]:
    match part:
        case Route(table, family, "", _):
            return 0, table, family, ""
        case Rule(preference, family, _, _, _):
            return 1, preference, family, ""
        case Bound(preference, family, device, _):
            return 1, preference, family, device
        case Route(table, family, device, _):
            return 2, table, family, device
