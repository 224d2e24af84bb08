"""The guard: what may leave, as one value, and the nftables transaction that says so. docs/security.md specifies it.

The closed form needs nothing but user ids and is valid before anything else of ours exists. Every form replaces the one
before it in one transaction; text goes in with the counters that were read just before.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from pointsman.dataplane import inside, leaving
from pointsman.dataplane.capture import UNCAPTURED, Capture
from pointsman.dataplane.frames import write_frames
from pointsman.dataplane.nftables import (
    Chain,
    Set,
    address,
    by_version,
    device,
    lane_counter,
    port_ranges,
    write_chain,
    write_set,
)
from pointsman.dataplane.ours import Ours
from pointsman.dataplane.treatment import Treatment, limit_names, write_limits
from pointsman.model.policy import Ports
from pointsman.model.routing import FAMILIES
from pointsman.model.tunnel import Lane

TABLE = "pointsman"
FRAMES = "pointsman_frames"

Counts = Mapping[str, tuple[int, int]]


class State(StrEnum):
    """What the guard is asked to do. `OBSERVE` counts what `OPEN` would drop, and lets it pass."""

    CLOSED = "closed"
    OPEN = "open"
    OBSERVE = "observe"


@dataclass(frozen=True, slots=True)
class Outer:
    """Where a tunnel's outer packets may go. `kernel` says that the kernel itself sends them, with the outer mark."""

    protocol: str
    address: str
    port: int
    kernel: bool = False


@dataclass(frozen=True, slots=True)
class Inbound:
    """Local ports whose connections from outside are answered. `protocol` is `tcp` or `udp`."""

    protocol: str
    ports: Ports


@dataclass(frozen=True, slots=True)
class GuardSpec:
    """All that the guard depends on.

    `uplinks` are the devices that carry the host's own addresses, those that `direct` lanes leave by included.
    `framed` are the devices, uplinks and tunnels, that are there now and get an egress chain for raw frames.
    `ends` are the devices of all our tunnels with their own addresses, those included that no lane leaves by.
    `gateways` are where root may ask for tunnels, address and port.
    `probes` are the addresses that root may ask for an echo, each with the only device for that.
    `queued` are the devices whose lanes have queues of their own, `outer_dscp` the code points of outer UDP packets by
    their local port.
    `link_uids` are the users whose DHCP and 802.1X packets may leave. `exempt_uids` are neither captured nor held.
    For `glass` seconds more nothing is captured or held; the kernel itself ends that, whether or not an agent lives.
    """

    proxy_uid: int
    tunnel_uid: int
    state: State
    exempt_uids: frozenset[int] = frozenset()
    link_uids: frozenset[int] = frozenset()
    uplinks: tuple[str, ...] = ()
    framed: tuple[str, ...] = ()
    inbound: tuple[Inbound, ...] = ()
    lanes: tuple[Lane, ...] = ()
    ends: tuple[tuple[str, tuple[str, ...]], ...] = ()
    probes: tuple[tuple[str, str], ...] = ()
    treatments: tuple[Treatment, ...] = ()
    queued: frozenset[str] = frozenset()
    endpoints: tuple[Outer, ...] = ()
    outer_dscp: tuple[tuple[int, int], ...] = ()
    resolvers: tuple[tuple[str, int], ...] = ()
    gateways: tuple[tuple[str, int], ...] = ()
    capture: Capture = UNCAPTURED
    glass: int = 0

    @property
    def tunnels(self) -> tuple[str, ...]:
        """Return the devices of our tunnels."""
        return tuple(sorted({device for device, _ in self._every_end} - set(self.uplinks)))

    @property
    def inner(self) -> tuple[tuple[str, str], ...]:
        """Return the tunnels' own addresses with their devices."""
        return tuple(sorted({(text, on) for on, texts in self._every_end if on in self.tunnels for text in texts}))

    @property
    def _every_end(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return (*self.ends, *((lane.device, lane.sources) for lane in self.lanes))

    @property
    def held(self) -> str:
        """Return the verdict for what must not leave."""
        return "accept" if self.state is State.OBSERVE else "drop"


def guard_text(spec: GuardSpec, counted: Counts | None = None) -> str:
    """Return the transaction that puts this guard in place of whatever guard of ours is there."""
    if spec.state is State.CLOSED:
        spec = replace(
            spec,
            lanes=(),
            probes=(),
            treatments=(),
            endpoints=(),
            outer_dscp=(),
            resolvers=(),
            gateways=(),
            capture=UNCAPTURED,
        )
    counted = counted or {}
    buckets = limit_names(spec.lanes, spec.treatments)
    body = "".join(
        (
            *(_counter(name, counted) for name in counter_names(spec)),
            write_limits(buckets, spec.treatments),
            *(write_set(declared) for declared in _sets(spec)),
            *(_forgotten(version) for version in FAMILIES if spec.capture.entries),
            _glass(spec.glass),
            *(write_chain(chain) for chain in _chains(spec, buckets)),
        )
    )
    return (
        f"table inet {TABLE}\ndelete table inet {TABLE}\n"
        f"table netdev {FRAMES}\ndelete table netdev {FRAMES}\n"
        f"table inet {TABLE} {{\n{body}}}\n"
        + write_frames(FRAMES, spec.framed, spec.inner, spec.link_uids, spec.held, counted, spec.glass)
    )


def removal_text() -> str:
    """Return the transaction that removes all of ours, there or not."""
    return f"table inet {TABLE}\ndelete table inet {TABLE}\ntable netdev {FRAMES}\ndelete table netdev {FRAMES}\n"


def counter_names(spec: GuardSpec) -> tuple[str, ...]:
    """Return the names of the counters in the `inet` table."""
    lanes = [lane_counter(lane, way) for lane in _in_order(spec) for way in ("out", "in")]
    return (*leaving.COUNTERS, *inside.COUNTERS, *lanes)


def _counter(name: str, counted: Counts) -> str:
    packets, size = counted.get(name, (0, 0))
    return f"  counter {name} {{\n    packets {packets} bytes {size}\n  }}\n"


def _forgotten(version: int) -> str:
    """Return how long the kernel knows of captured connections that were reset, or that nobody has answered yet."""
    family = {4: "ip", 6: "ip6"}[version]
    lines = ("protocol tcp", f"l3proto {family}", "policy = { close : 1, syn_sent : 2 }")
    return f"  ct timeout forgotten{version} {{\n" + "".join(f"    {line}\n" for line in lines) + "  }\n"


def _glass(seconds: int) -> str:
    if not seconds:
        return ""
    until = f"ipv4 timeout {seconds}s, ipv6 timeout {seconds}s"
    return f"  set glass {{\n    typeof meta nfproto\n    flags timeout\n    elements = {{ {until} }}\n  }}\n"


def _in_order(spec: GuardSpec) -> tuple[Lane, ...]:
    return tuple(sorted(spec.lanes, key=lambda lane: lane.mark))


def _chains(spec: GuardSpec, buckets: Mapping[str, str]) -> tuple[Chain, ...]:
    ours = Ours(
        spec.proxy_uid,
        spec.tunnel_uid,
        spec.exempt_uids,
        spec.link_uids,
        _in_order(spec),
        {treatment.profile: treatment for treatment in spec.treatments},
        buckets,
        spec.held,
        spec.glass > 0,
        spec.queued,
        spec.outer_dscp,
    )
    return (*inside.chains(ours, spec.capture), *leaving.chains(ours, spec.capture))


def _sets(spec: GuardSpec) -> tuple[Set, ...]:
    found = [
        Set("uplinks", "ifname", tuple(device(name) for name in sorted(spec.uplinks))),
        Set("tunnels", "ifname", tuple(device(name) for name in spec.tunnels)),
        Set("entries", "inet_service", tuple(str(port) for port in sorted(spec.capture.entries))),
        Set("inbound_tcp", "inet_service", _inbound(spec, "tcp"), interval=True),
        Set("inbound_udp", "inet_service", _inbound(spec, "udp"), interval=True),
    ]
    for family, kind in ((4, "ipv4_addr"), (6, "ipv6_addr")):
        inner = dict.fromkeys(by_version((text for text, _ in spec.inner), family))
        pairs = [f"{address(text)} . {device(on)}" for text, on in spec.inner if text in inner]
        asked = by_version((text for text, _ in spec.probes), family)
        probes = [f"{address(text)} . {device(on)}" for text, on in sorted(set(spec.probes)) if text in asked]
        found += [
            Set(f"inner{family}", kind, tuple(address(text) for text in inner)),
            Set(f"inner{family}_on", f"{kind} . ifname", tuple(pairs)),
            Set(f"probes{family}", f"{kind} . ifname", tuple(probes)),
            Set(f"gateways{family}", f"{kind} . inet_service", _places(spec.gateways, family)),
            Set(f"resolvers{family}", f"{kind} . inet_service", _places(spec.resolvers, family)),
            Set(f"endpoints{family}", f"inet_proto . {kind} . inet_service", _outer(spec, family, False)),
            Set(f"kernel_endpoints{family}", f"inet_proto . {kind} . inet_service", _outer(spec, family, True)),
        ]
    return tuple(found)


def _inbound(spec: GuardSpec, protocol: str) -> tuple[str, ...]:
    return tuple(text for item in spec.inbound if item.protocol == protocol for text in port_ranges(item.ports))


def _places(places: tuple[tuple[str, int], ...], family: int) -> tuple[str, ...]:
    fit = by_version((text for text, _ in places), family)
    return tuple(f"{address(text)} . {port}" for text, port in sorted(set(places)) if text in fit)


def _outer(spec: GuardSpec, family: int, kernel: bool) -> tuple[str, ...]:
    fit = by_version((outer.address for outer in spec.endpoints), family)
    chosen = [outer for outer in spec.endpoints if outer.kernel is kernel and outer.address in fit]
    return tuple(sorted({f"{_protocol(outer)} . {address(outer.address)} . {outer.port}" for outer in chosen}))


def _protocol(outer: Outer) -> str:
    return {"tcp": "tcp", "udp": "udp"}[outer.protocol]
