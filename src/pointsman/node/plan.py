"""What should be there now: policy, node and tunnels in; lanes, guard, routing and proxy files out. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from pointsman.dataplane import entries as entry_ports
from pointsman.dataplane.capture import compile_capture
from pointsman.dataplane.envoy import Settings
from pointsman.dataplane.guard import GuardSpec
from pointsman.dataplane.queues import want_queues
from pointsman.dataplane.resources import EnvoyFiles, Resource, compile_envoy
from pointsman.dataplane.routing import want_routing
from pointsman.dataplane.sharing import Shares
from pointsman.model.diagram import Leaf
from pointsman.model.entry import Mode
from pointsman.model.queues import Queues
from pointsman.model.routing import MASK, Routing
from pointsman.model.tunnel import Lane, Tunnel
from pointsman.node.config import Node
from pointsman.node.guards import open_guard
from pointsman.node.holdings import NOBODY, Holdings, by_holder, held_lanes, with_workloads
from pointsman.node.lanes import lay_lanes
from pointsman.node.memory import Memory
from pointsman.node.trees import Trees
from pointsman.tunnels.leases import assign
from pointsman.tunnels.select import Selection, misfit


@dataclass(frozen=True, slots=True)
class Plan:
    """One consistent picture. `ways` holds each profile's lane, or why it has none, `shares` those that share one.

    `first` are the lanes that requests are sent to first; `wanted` are these and those that stand by for them.
    """

    memory: Memory
    selections: Mapping[str, Selection]
    ways: Mapping[str, Lane | str]
    shares: Shares
    lanes: tuple[Lane, ...]
    first: frozenset[Lane]
    wanted: frozenset[Lane]
    guard: GuardSpec
    routing: Routing
    queues: Queues
    envoy: EnvoyFiles


def make_plan(
    node: Node,
    trees: Trees,
    tunnels: tuple[Tunnel, ...],
    memory: Memory,
    settings: Settings,
    draining: Iterable[Lane] = (),
    holdings: Holdings = NOBODY,
    routes: Resource | None = None,
    rests: Mapping[str, Collection[str]] | None = None,
    occupied: Collection[int] = (),
) -> Plan:
    """Return what should be there. `draining` are lanes that requests may still be on, `occupied` classes of entries.

    With `routes` these stay as they are: what is new can be used by requests that ask, before the tree knows of it.
    """
    policy, observe = trees.policy, memory.observe
    pooled = [profile for profile in policy.profiles if profile.holding is None]
    pool = [tunnel for tunnel in tunnels if tunnel.name not in holdings.gateways]
    by_name = {tunnel.name: tunnel for tunnel in tunnels}
    assignment = assign(pooled, pool, memory.leases, memory.stays, rests=rests)
    held = held_lanes(policy, holdings, by_name)
    laid = lay_lanes(assignment.selections, held, by_name, memory.lanes, draining, holdings.spares)
    lanes, ways = laid.every, laid.ways
    holders = by_holder(holdings, laid.held, by_name)
    modes = ((Mode.HTTP, node.http), (Mode.AUTO, node.auto), (Mode.TCP, plain_ports(node)))
    ports = entry_ports.plan(
        with_workloads(trees.uids, policy, holders),
        [f"{p.name}@{t.name}" for p in pooled for t in pool if not misfit(t, p)],
        [mode for mode, ranges in modes if ranges],
        memory.entries,
        occupied=occupied,
    )
    if routes is not None:  # they go by the entries of before
        ports = entry_ports.both(ports, memory.entries)
    # observed, a plain TCP flow goes its own way: the guard counts it
    capture = compile_capture(
        modes[:1] if observe else modes,
        ports,
        policy.destinations,
        trees.plain_tcp,
        lambda leaf: _way_of(leaf, trees, ways),
        laid.shares,
    )
    queues = want_queues(tunnels, lanes, policy.profiles, MASK)
    leases = (*assignment.leases, *holdings.leases)
    return Plan(
        memory=replace(memory, lanes=laid.numbers, entries=ports, leases=assignment.leases),
        selections=assignment.selections,
        ways=ways,
        shares=laid.shares,
        lanes=lanes,
        first=laid.first,
        wanted=laid.wanted,
        guard=open_guard(node, observe, tunnels, lanes, policy.profiles, leases, queues, capture),
        routing=want_routing(tunnels, lanes, MASK),
        queues=queues,
        envoy=compile_envoy(
            trees.compiled,
            ways,
            lanes,
            ports,
            replace(settings, observe=observe),
            holders,
            routes,
            laid.nexts,
            laid.shares,
        ),
    )


def plain_ports(node: Node) -> tuple[tuple[int, int], ...]:
    """Return all ports that are neither `http` nor `auto`."""
    ranges = []
    first = 1
    for low, high in sorted((*node.http, *node.auto)):
        if first < low:
            ranges.append((first, low - 1))
        first = high + 1
    if first <= 65535:
        ranges.append((first, 65535))
    return tuple(ranges)


def _way_of(leaf: Leaf, trees: Trees, ways: Mapping[str, Lane | str]) -> str:
    """Return the cluster for a plain TCP flow, nothing where it is refused."""
    profile = trees.policy.rules[leaf.rule].profile
    way = None if leaf.absent or profile is None else ways.get(profile)
    return way.cluster if isinstance(way, Lane) else ""
