"""What should be there now: policy, node and tunnels in; lanes, guard, routing and proxy files out. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pointsman.dataplane import entries as entry_ports
from pointsman.dataplane.capture import compile_capture
from pointsman.dataplane.envoy import Settings
from pointsman.dataplane.guard import MASK, GuardSpec, Inbound, Outer, State
from pointsman.dataplane.queues import queued_devices, want_queues
from pointsman.dataplane.resources import EnvoyFiles, Resource, compile_envoy
from pointsman.dataplane.routing import want_routing
from pointsman.dataplane.treatment import treatments
from pointsman.model.diagram import Leaf
from pointsman.model.entry import Mode
from pointsman.model.profile import Profile
from pointsman.model.queues import Queues
from pointsman.model.routing import Routing
from pointsman.model.tunnel import Kind, Lane, Lease, Tunnel
from pointsman.node.config import Node
from pointsman.node.holdings import NOBODY, Holdings, by_holder, held_lanes, with_workloads
from pointsman.node.memory import LANES, Memory, numbered
from pointsman.node.trees import Trees
from pointsman.tunnels.leases import assign
from pointsman.tunnels.port import link_name
from pointsman.tunnels.select import Chosen, Selection, misfit

SHIFT = (MASK & -MASK).bit_length() - 1
ROOT = 0
DNS = 53


@dataclass(frozen=True, slots=True)
class Plan:
    """One consistent picture. `ways` holds each profile's lane, or why it has none.

    `first` are the lanes that requests are sent to first; `wanted` are these and those that stand by for them.
    """

    memory: Memory
    selections: Mapping[str, Selection]
    ways: Mapping[str, Lane | str]
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
) -> Plan:
    """Return what should be there. `draining` are lanes that requests may still be on.

    With `routes` these stay as they are: what is new can be used by requests that ask, before the tree knows of it.
    """
    policy = trees.policy
    pooled = [profile for profile in policy.profiles if profile.holding is None]
    pool = [tunnel for tunnel in tunnels if tunnel.name not in holdings.names]
    assignment = assign(pooled, pool, memory.leases, memory.stays)
    by_name = {tunnel.name: tunnel for tunnel in tunnels}
    held = held_lanes(policy, holdings, by_name)
    chosen = {
        name: by_name[selection.tunnel]
        for name, selection in assignment.selections.items()
        if isinstance(selection, Chosen)
    }
    backups = {name: found.then for name, found in assignment.selections.items() if isinstance(found, Chosen)}
    backed = [(name, backup) for name, found in backups.items() for backup in found]
    before = tuple(draining)
    wanted = [
        *(f"{p}@{t}" for p, t in backed),
        *(f"{name}@{tunnel.name}" for name, tunnel in chosen.items()),
        *(f"{p}@{t}" for p, t in held),
    ]
    numbers = numbered(memory.lanes, [*wanted, *(lane.cluster for lane in before)], LANES)
    fresh = {name: _lane(name, tunnel, numbers) for name, tunnel in chosen.items()}
    own = {(profile, name): _lane(profile, by_name[name], numbers) for profile, name in held}
    behind = {(profile, name): _lane(profile, by_name[name], numbers) for profile, name in backed}
    nexts = {lane.cluster: tuple(behind[name, backup] for backup in backups[name]) for name, lane in fresh.items()}
    first = frozenset({*fresh.values(), *own.values()})
    now = first | frozenset(behind.values())
    old = tuple(lane for lane in before if lane not in now and _stands(lane, by_name))
    lanes = tuple(sorted((*now, *old), key=lambda lane: lane.mark))
    holders = by_holder(holdings, own, by_name)
    ways: dict[str, Lane | str] = {
        name: fresh.get(name) or why_none(selection) for name, selection in assignment.selections.items()
    }
    modes = ((Mode.HTTP, node.http), (Mode.AUTO, node.auto), (Mode.TCP, plain_ports(node)))
    carriers = [f"{p.name}@{t.name}" for p in pooled for t in pool if not misfit(t, p)]
    ports = entry_ports.plan(
        with_workloads(trees.uids, policy, holders),
        carriers,
        [mode for mode, ranges in modes if ranges],
        memory.entries,
    )
    # observed, a plain TCP flow goes its own way: the guard counts it
    capture = compile_capture(
        modes[:1] if memory.observe else modes,
        ports,
        policy.destinations,
        trees.plain_tcp,
        lambda leaf: _way_of(leaf, trees, ways),
    )
    kept = replace(memory, lanes=numbers, entries=ports, leases=assignment.leases)
    queues = want_queues(tunnels, lanes, policy.profiles, MASK)
    guard = GuardSpec(
        proxy_uid=node.proxy_uid,
        tunnel_uid=node.tunnel_uid,
        state=State.OBSERVE if memory.observe else State.OPEN,
        exempt_uids=frozenset(node.exempt_uids),
        link_uids=frozenset({ROOT}) if node.dhcp else frozenset(),
        uplinks=node.uplinks,
        framed=tuple(sorted({*node.uplinks, *(t.device for t in tunnels if t.mtu and t.device)})),
        inbound=(Inbound("tcp", tuple((port, port) for port in node.inbound)),) if node.inbound else (),
        lanes=lanes,
        ends=tuple((t.device, t.sources) for t in tunnels if t.device and t.kind is not Kind.DIRECT),
        probes=tuple((t.probe, t.device) for t in tunnels if t.probe and t.device),
        treatments=treatments(policy.profiles),
        queued=queued_devices(queues),
        endpoints=_outer(tunnels),
        outer_dscp=_outer_dscp(tunnels, policy.profiles, (*assignment.leases, *holdings.leases)),
        resolvers=tuple((address, DNS) for address in node.resolvers),
        gateways=tuple((gateway.address, gateway.port) for gateway in node.gateways),
        capture=capture,
    )
    return Plan(
        memory=kept,
        selections=assignment.selections,
        ways=ways,
        lanes=lanes,
        first=first,
        wanted=now,
        guard=guard,
        routing=want_routing(tunnels, lanes, MASK),
        queues=queues,
        envoy=compile_envoy(
            trees.compiled, ways, lanes, ports, replace(settings, observe=memory.observe), holders, routes, nexts
        ),
    )


def closed_guard(node: Node) -> GuardSpec:
    """Return the guard that lets nothing of ours out: what stands before anything else does.

    Tunnels that an earlier agent left running are shut in both directions.
    """
    return GuardSpec(
        proxy_uid=node.proxy_uid,
        tunnel_uid=node.tunnel_uid,
        state=State.CLOSED,
        exempt_uids=frozenset(node.exempt_uids),
        link_uids=frozenset({ROOT}) if node.dhcp else frozenset(),
        uplinks=node.uplinks,
        framed=node.uplinks,
        ends=tuple((link_name(str(node.runtime), e.name), ()) for e in node.entries if e.kind is not Kind.DIRECT),
        inbound=(Inbound("tcp", tuple((port, port) for port in node.inbound)),) if node.inbound else (),
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


def why_none(selection: Selection) -> str:
    """Return why a profile has no tunnel, without names that an application has no business to know."""
    if isinstance(selection, Chosen):
        return ""
    fitting = any(
        {found.label for found in rejected.objections} <= {"state", "pinned"} for rejected in selection.rejected
    )
    return "its tunnel is not up" if fitting else "no tunnel fits it"


def _lane(profile: str, tunnel: Tunnel, numbers: Mapping[str, int]) -> Lane:
    return Lane(profile, tunnel.name, numbers[f"{profile}@{tunnel.name}"] << SHIFT, tunnel.device, tunnel.sources)


def _stands(lane: Lane, tunnels: Mapping[str, Tunnel]) -> bool:
    tunnel = tunnels.get(lane.tunnel)
    return tunnel is not None and (tunnel.device, tunnel.sources) == (lane.device, lane.sources)


def _way_of(leaf: Leaf, trees: Trees, ways: Mapping[str, Lane | str]) -> str:
    """Return the cluster for a plain TCP flow, nothing where it is refused."""
    profile = trees.policy.rules[leaf.rule].profile
    way = None if leaf.absent or profile is None else ways.get(profile)
    return way.cluster if isinstance(way, Lane) else ""


def _outer(tunnels: Iterable[Tunnel]) -> tuple[Outer, ...]:
    found: set[tuple[str, str, int, bool]] = set()
    for tunnel in tunnels:
        for end in tunnel.endpoints:
            found.add((end.protocol, end.address, end.port, False))
            if tunnel.kind is Kind.WIREGUARD:
                found.add((end.protocol, end.address, end.port, True))
    return tuple(Outer(*one) for one in sorted(found))


def _outer_dscp(
    tunnels: Iterable[Tunnel], profiles: Iterable[Profile], leases: Iterable[Lease]
) -> tuple[tuple[int, int], ...]:
    """Return local ports with their packets' code point: of the profile that alone has the tunnel, or of its entry."""
    points = {profile.name: profile.qos.dscp for profile in profiles if profile.dscp_outer}
    held = {lease.tunnel: points[lease.holder] for lease in leases if lease.holder in points}
    found = ((tunnel.port, held.get(tunnel.name, tunnel.outer_dscp)) for tunnel in tunnels if tunnel.port)
    return tuple(sorted((port, point) for port, point in found if point))
