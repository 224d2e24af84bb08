"""What a tunnel needs to come up, where it lives, what is seen of it, and what every driver can do.

Secrets in these values never show in their `repr`, and so neither in logs nor in failed comparisons.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from pointsman.model.tunnel import Endpoint, State

# Begins the alias of each link of ours
MARK = "pointsman:"


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a WireGuard tunnel. Keys are base64, `allowed` canonical networks, `keepalive` is in seconds.

    `endpoint` is None for one that calls us, as nodes call a gateway.
    """

    public_key: str
    endpoint: Endpoint | None
    allowed: tuple[str, ...]
    keepalive: int
    preshared_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class WireguardSpec:
    """Everything that a wg-quick file says and we follow. `addresses` are bare, `listen_port` 0 is any."""

    private_key: str = field(repr=False)
    addresses: tuple[str, ...]
    peers: tuple[Peer, ...]
    mtu: int
    listen_port: int = 0

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return where the outer packets go."""
        return tuple(dict.fromkeys(peer.endpoint for peer in self.peers if peer.endpoint))


@dataclass(frozen=True, slots=True)
class OpenvpnSpec:
    """Everything that an .ovpn file says and we follow.

    `settings` are directives with their arguments, checked one by one; `blocks` are the keys, certificates
    and credentials, by directive. The daemon gets a configuration made from this, never the user's text.
    `addresses` are those that the gateway may push; empty: any that are not spoken for.
    """

    remotes: tuple[Endpoint, ...]
    settings: tuple[tuple[str, ...], ...]
    blocks: tuple[tuple[str, str], ...] = field(repr=False)
    mtu: int
    addresses: tuple[str, ...] = ()

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return where the outer packets go."""
        return tuple(dict.fromkeys(self.remotes))

    def setting(self, name: str) -> tuple[str, ...] | None:
        """Return the arguments of a directive, or None where the file does not have it."""
        return next((words[1:] for words in self.settings if words[0] == name), None)

    def has_block(self, name: str) -> bool:
        """Say whether the file brings this key, certificate or credential."""
        return any(known == name for known, _ in self.blocks)


@dataclass(frozen=True, slots=True)
class DirectSpec:
    """No tunnel: packets leave by this device in clear text."""

    device: str

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return nothing: there are no outer packets."""
        return ()


Spec = WireguardSpec | OpenvpnSpec | DirectSpec


@dataclass(frozen=True, slots=True)
class Berth:
    """Where one tunnel lives: its private folder (0700), its link, and the user its daemon runs as.

    `link` is empty for `direct`, which has none of its own.
    """

    name: str
    folder: Path
    link: str
    uid: int
    gid: int

    @property
    def alias(self) -> str:
        """Return what marks the link as this tunnel's in the kernel itself."""
        return MARK + self.name


@dataclass(frozen=True, slots=True)
class Observation:
    """What is seen of a tunnel. `handshake_age` is in seconds, None where unknown; `sent` is in bytes.

    `port` is the local one of outer UDP packets, 0 where unknown.
    GONE means that `start` is due: nothing is there, it died, or it is not what the spec says. In FAILED and
    PROVISIONING something runs and goes on trying; a new start would only throw away what it has.
    """

    state: State
    device: str
    sources: tuple[str, ...] = ()
    mtu: int = 0
    handshake_age: float | None = None
    sent: int = 0
    why: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """What the kernel knows of a link. `addresses` leave out link-local ones; `carrier`: somebody drives it."""

    index: int
    kind: str
    alias: str
    mtu: int
    up: bool
    carrier: bool
    addresses: tuple[str, ...]


# What was seen of all links a moment ago; a driver looks itself for one that is not among them
Links = Mapping[str, Link]
NO_LINKS: Links = MappingProxyType({})


class Driver(Protocol):
    """Makes tunnels of one kind. Each method may be repeated at any time, also after a crash half-way.

    All raise `Fault` where the outside world fails. None of them touches routes, rules or nftables.
    """

    def start(self, spec: Spec, berth: Berth) -> None:
        """Bring the tunnel up, or adopt the one that is already there with this very spec."""

    def tend(self, spec: Spec, berth: Berth, links: Links = NO_LINKS) -> Observation:
        """Repair the tunnel's link (addresses, MTU, up), then say what is there."""

    def revive(self, spec: Spec, berth: Berth) -> None:
        """Have it greet its gateway anew, which may have forgotten the session that this end goes on using."""

    def stop(self, berth: Berth) -> None:
        """End the daemon and remove the link and all that the folder holds."""


def berth(runtime: Path, tunnel: str, uid: int, gid: int) -> Berth:
    """Return where a tunnel lives below a node's runtime folder."""
    return Berth(tunnel, runtime / "tunnels" / tunnel, link_name(str(runtime), tunnel), uid, gid)


def tunnel_at(runtime: Path, link: str, alias: str) -> str:
    """Return the tunnel whose link this is below a node's runtime folder; empty where it is none of ours."""
    name = alias.removeprefix(MARK)
    return name if name != alias and link == link_name(str(runtime), name) else ""


def link_name(runtime: str, tunnel: str) -> str:
    """Return a link name that is unique on the machine and the same after every restart (at most 15 bytes)."""
    return "pm" + hashlib.sha256(f"{runtime}\0{tunnel}".encode()).hexdigest()[:10]


def digest(spec: Spec) -> str:
    """Return the content hash of a spec: a daemon is adopted only if it was started with the same one."""
    told = asdict(spec)
    if isinstance(spec, OpenvpnSpec):
        del told["addresses"]  # its daemon is not told what its gateway should give
    canonical = json.dumps([type(spec).__name__, told], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
