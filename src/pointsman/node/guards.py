"""The guard of a node in its forms: closed, as it stands before anything else does, and open for lanes. Pure."""

from collections.abc import Iterable
from dataclasses import replace

from pointsman.dataplane.capture import Capture
from pointsman.dataplane.guard import GuardSpec, Inbound, Outer, State
from pointsman.dataplane.queues import queued_devices
from pointsman.dataplane.treatment import treatments
from pointsman.model.profile import Profile
from pointsman.model.queues import Queues
from pointsman.model.tunnel import Kind, Lane, Lease, Tunnel
from pointsman.node.config import Node
from pointsman.tunnels.port import link_name

ROOT = 0
DNS = 53


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


def open_guard(
    node: Node,
    observe: bool,
    tunnels: tuple[Tunnel, ...],
    lanes: tuple[Lane, ...],
    profiles: Iterable[Profile],
    leases: Iterable[Lease],
    queues: Queues,
    capture: Capture,
) -> GuardSpec:
    """Return the guard that lets out what takes these lanes, and what the node file frees."""
    profiles = tuple(profiles)
    return replace(
        closed_guard(node),
        state=State.OBSERVE if observe else State.OPEN,
        framed=tuple(sorted({*node.uplinks, *(t.device for t in tunnels if t.mtu and t.device)})),
        lanes=lanes,
        ends=tuple((t.device, t.sources) for t in tunnels if t.device and t.kind is not Kind.DIRECT),
        probes=tuple((t.probe, t.device) for t in tunnels if t.probe and t.device),
        treatments=treatments(profiles),
        queued=queued_devices(queues),
        endpoints=_outer(tunnels),
        outer_dscp=_outer_dscp(tunnels, profiles, leases),
        resolvers=tuple((address, DNS) for address in node.resolvers),
        gateways=tuple((gateway.address, gateway.port) for gateway in node.gateways),
        capture=capture,
    )


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
    held = {lease.tunnel: points[lease.profile] for lease in leases if lease.profile in points}
    found = ((tunnel.port, held.get(tunnel.name, tunnel.outer_dscp)) for tunnel in tunnels if tunnel.port)
    return tuple(sorted((port, point) for port, point in found if point))
