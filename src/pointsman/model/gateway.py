"""Gateways that can be asked for tunnels, what they give, and what was made there."""

from dataclasses import dataclass

from pointsman.model.profile import Labels, Level
from pointsman.model.tunnel import Endpoint, Kind


@dataclass(frozen=True, slots=True)
class Gateway:
    """One gateway of the node file. It is asked over mutual TLS at `address` and `port`; files are paths.

    `secret` is the file of what it shares with this node for the pre-shared keys of its tunnels; empty for none.
    `level` is what every tunnel made there gives, and `rate` what each carries in bits per second, None where unknown.
    So many spare tunnels, from `least` to `most`, wait for holders.
    """

    name: str
    address: str
    port: int
    kind: Kind
    level: Level
    labels: Labels
    ca: str
    certificate: str
    key: str
    rate: int | None = None
    secret: str = ""
    least: int = 1
    most: int = 8


@dataclass(frozen=True, slots=True)
class Given:
    """What a gateway gave: the far end of one tunnel. `ttl` is in seconds; after it the tunnel has to be renewed.

    `public_key` is base64 and for WireGuard; certificates are PEM and for OpenVPN, `fingerprint` pins the gateway's.
    """

    addresses: tuple[str, ...]
    endpoint: Endpoint
    mtu: int
    probe: tuple[str, ...]
    ttl: float
    public_key: str = ""
    certificate: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Holder:
    """Whose tunnel it is: the profile, and what tells its holders apart. `source` is what the key was read from.

    The same key from elsewhere is somebody else: user `1000` is not the process of user id 1000.
    """

    profile: str
    key: str
    source: str


@dataclass(frozen=True, slots=True)
class Made:
    """One tunnel that was asked for: of a holder, or a spare one. Times are in seconds of the boot-time clock.

    `kind`, `level` and `labels` are what its gateway stood for when it was made.
    `used` is when it last carried something. From `leaving` on it takes no new requests, and is gone soon.
    """

    name: str
    gateway: str
    kind: Kind
    level: Level
    labels: Labels
    holder: Holder | None
    since: float
    used: float
    leaving: float | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many tunnels of single holders there may be: on this node, and with one holder's name over all profiles."""

    node: int = 200
    holder: int = 8
