"""What the lab consists of: hosts, legs, addresses. A pure description; `build` makes it and docs/lab.md draws it."""

from dataclasses import dataclass

from pointsman.model.profile import Labels, Level
from pointsman.model.tunnel import Endpoint, Kind


@dataclass(frozen=True, slots=True)
class Leg:
    """One interface of a host, with its addresses, and the bridge of the router that it is plugged into."""

    device: str
    bridge: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Host:
    """One network namespace. `gateways` are its default routes; a host that forwards is a router."""

    name: str
    legs: tuple[Leg, ...]
    gateways: tuple[str, ...] = ()
    forwards: bool = False


@dataclass(frozen=True, slots=True)
class Gateway:
    """The far end of one tunnel: what the instance dials, and the addresses inside.

    `masquerade` is the device behind which it hides what comes out of the tunnel, so that the origin sees
    which gateway was used. `networks` are the inner ones (v4, v6); the gateway has their first address. `spare` are
    those of the other kind of tunnel, for what the instance asks for.
    """

    host: str
    tunnel: str
    kind: Kind
    level: Level
    labels: Labels
    endpoint: Endpoint
    networks: tuple[str, str]
    seen_as: tuple[str, str]
    device: str
    spare: tuple[str, str]
    masquerade: str = "eth1"

    @property
    def servers(self) -> tuple[tuple[Kind, tuple[str, str], str], ...]:
        """Return kind, networks and device of each of its servers, that of the pool's tunnel first."""
        other, device = (Kind.OPENVPN, "tun0") if self.kind is Kind.WIREGUARD else (Kind.WIREGUARD, "wg0")
        return ((self.kind, self.networks, self.device), (other, self.spare, device))


LAN = "lan"
NET = "net"
ROUTER = "underlay"
INSTANCE = "instance"
ORIGIN = "origin"


def _gateway(name: str, last: int) -> Host:
    return Host(
        name,
        (
            Leg("eth0", LAN, (f"192.0.2.{last}/24", f"2001:db8:1::{last}/64")),
            Leg("eth1", NET, (f"198.51.100.{last}/24", f"2001:db8:2::{last}/64")),
        ),
        ("198.51.100.1", "2001:db8:2::1"),
    )


# The router's own legs are its two bridges; the cable to the instance is where the sniffer sits.
HOSTS: tuple[Host, ...] = (
    Host(
        ROUTER,
        (
            Leg(LAN, LAN, ("192.0.2.1/24", "2001:db8:1::1/64")),
            Leg(NET, NET, ("198.51.100.1/24", "2001:db8:2::1/64", "198.51.100.53/24", "2001:db8:2::53/64")),
        ),
        forwards=True,
    ),
    Host(
        INSTANCE,
        (Leg("eth0", LAN, ("192.0.2.10/24", "2001:db8:1::10/64")),),
        ("192.0.2.1", "2001:db8:1::1"),
    ),
    _gateway("gw-a", 21),
    _gateway("gw-b", 22),
    _gateway("gw-c", 23),
    Host(
        ORIGIN,
        (
            Leg(
                "eth0",
                NET,
                (
                    *(f"198.51.100.{last}/24" for last in (80, 81, 82, 83)),
                    *(f"2001:db8:2::{last}/64" for last in (80, 81, 82, 83)),
                ),
            ),
        ),
        ("198.51.100.1", "2001:db8:2::1"),
    ),
)

GATEWAYS: tuple[Gateway, ...] = (
    Gateway(
        "gw-a",
        "wg-a",
        Kind.WIREGUARD,
        Level.STRONG,
        (("purpose", "vault"), ("region", "eu")),
        Endpoint("192.0.2.21", 51820, "udp"),
        ("10.71.0.0/24", "fd71::/64"),
        ("198.51.100.21", "2001:db8:2::21"),
        "wg0",
        ("10.81.0.0/24", "fd81::/64"),
    ),
    Gateway(
        "gw-b",
        "wg-b",
        Kind.WIREGUARD,
        Level.STRONG,
        (("purpose", "vault"), ("region", "us")),
        Endpoint("192.0.2.22", 51820, "udp"),
        ("10.72.0.0/24", "fd72::/64"),
        ("198.51.100.22", "2001:db8:2::22"),
        "wg0",
        ("10.82.0.0/24", "fd82::/64"),
    ),
    Gateway(
        "gw-c",
        "ovpn-c",
        Kind.OPENVPN,
        Level.ENCRYPTED,
        (("purpose", "payments"), ("region", "eu")),
        Endpoint("192.0.2.23", 1194, "udp"),
        ("10.73.0.0/24", "fd73::/64"),
        ("198.51.100.23", "2001:db8:2::23"),
        "tun0",
        ("10.83.0.0/24", "fd83::/64"),
    ),
)

# The names that the lab's hosts resolve, from a hosts file of their own
NAMES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("public.example", ("198.51.100.80", "2001:db8:2::80")),
    ("pay.example", ("198.51.100.81", "2001:db8:2::81")),
    ("records.example", ("198.51.100.82", "2001:db8:2::82")),
)

# The names that only DNS knows, and the addresses of the server that is asked
DNS_NAMES: tuple[tuple[str, tuple[str, ...]], ...] = (("shop.example", ("198.51.100.83", "2001:db8:2::83")),)
RESOLVERS = ("198.51.100.53", "2001:db8:2::53")

ISSUER = "https://id.example"
AUDIENCE = "pointsman"

# What the instance's certificate calls it
NODE_NAME = "instance"

PROXY_USER = 64001
TUNNEL_USER = 64002


def host(name: str) -> Host:
    """Return the host of this name."""
    return next(host for host in HOSTS if host.name == name)


def seen_as(way: str) -> tuple[str, str]:
    """Return the addresses (v4, v6) that the origin sees of what came by a tunnel of the pool, or out of a gateway.

    `direct` is the instance itself.
    """
    direct = host(INSTANCE).legs[0].addresses
    others = {name: gateway.seen_as for gateway in GATEWAYS for name in (gateway.tunnel, gateway.host)}
    return others.get(way, (direct[0].split("/")[0], direct[1].split("/")[0]))
