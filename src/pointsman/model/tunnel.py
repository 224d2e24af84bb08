"""Tunnels: what the pool offers, what is live, and who holds a dedicated one."""

from dataclasses import dataclass
from enum import StrEnum

from pointsman.model.profile import Labels, Level


class Kind(StrEnum):
    """Kinds of tunnel, each made by the driver of the same name."""

    WIREGUARD = "wireguard"
    OPENVPN = "openvpn"
    DIRECT = "direct"


class State(StrEnum):
    """Where a tunnel is in its life. `tunnels.lifecycle` says what leads from one to the next."""

    PLANNED = "planned"
    PROVISIONING = "provisioning"
    UP = "up"
    DEGRADED = "degraded"
    DRAINING = "draining"
    GONE = "gone"
    FAILED = "failed"

    @property
    def carries(self) -> bool:
        """Return whether new requests may take the tunnel: a degraded one loses or delays, but carries."""
        return self in (State.UP, State.DEGRADED)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a tunnel's outer packets go: the only packets of it that the guard frees."""

    address: str
    port: int
    protocol: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One pool entry as configured. `file` is the user's own wg-quick or .ovpn file; empty for `direct`.

    `device` is the interface that a `direct` entry leaves by. `probe` is an address inside that answers an echo.
    `rate` is what it carries in bits per second, None where unknown; `outer_dscp` the code point of its outer packets.
    """

    name: str
    kind: Kind
    level: Level
    labels: Labels = ()
    file: str = ""
    device: str = ""
    probe: str = ""
    cost: int = 0
    weight: int = 1
    rate: int | None = None
    outer_dscp: int = 0


@dataclass(frozen=True, slots=True)
class Tunnel:
    """One live tunnel. `sources` are its own addresses (v4 and v6), which upstream sockets bind to.

    `table` is its routing table; `mtu` is in bytes.
    `rate` and `outer_dscp` are as in its `Entry`; `port` is the local one of its outer packets, 0 where unknown.
    """

    name: str
    kind: Kind
    level: Level
    labels: Labels
    state: State
    device: str
    sources: tuple[str, ...]
    endpoints: tuple[Endpoint, ...]
    table: int
    mtu: int
    why: str = ""
    probe: str = ""
    cost: int = 0
    weight: int = 1
    rate: int | None = None
    outer_dscp: int = 0
    port: int = 0


@dataclass(frozen=True, slots=True)
class Lease:
    """A dedicated tunnel and its only holder: a profile, or one of its holders, whom `key` tells from the others."""

    tunnel: str
    profile: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Lane:
    """A profile on a tunnel: one Envoy cluster, one mark, one way out. All that leaves, leaves by a lane."""

    profile: str
    tunnel: str
    mark: int
    device: str
    sources: tuple[str, ...]

    @property
    def cluster(self) -> str:
        """Return the name of this lane's Envoy cluster."""
        return f"{self.profile}@{self.tunnel}"
