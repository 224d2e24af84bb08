"""The chains of the gateway's guard: what passes, how it is policed and marked. docs/gateway.md tells why."""

from collections.abc import Iterable, Iterator

from pointsman.dataplane.nftables import Chain, address, braced, by_version, device, network, rules
from pointsman.dataplane.treatment import PRIORITY
from pointsman.gateway.site import Gateway
from pointsman.model.profile import Qos

FAMILIES = (("4", "ip", "ipv4_addr"), ("6", "ip6", "ipv6_addr"))
# Sets of the connections that are open, by the tunnel's address: those that it opened, those that others opened to it
OPENED = {"out": "opened", "in": "called"}
_OWN = "type filter hook {} priority {}; policy accept;"


def chains(gateway: Gateway, devices: str) -> Iterator[Chain]:
    """Yield all chains; `devices` are the links of the servers, as a set."""
    uplinks = braced(device(name) for name in gateway.uplinks)
    inner = [own for server in gateway.servers for own in server.pool.gateway]
    pools = [text for server in gateway.servers for text in server.pool.networks]
    # routed, packets to tunnels come from outside by right; those to the gateway's own inner addresses never do
    closed = pools if gateway.masquerade else inner
    yield Chain("interactive", _treated(Qos.INTERACTIVE))
    rest = _rest(devices) if gateway.capacity.bandwidth else ()
    yield Chain("default", (*rest, *_treated(Qos.DEFAULT)))
    yield Chain("bulk", (*rest, *_treated(Qos.BULK)))
    yield Chain(
        "arriving",
        rules(
            f"iifname {devices} goto inside",
            # what says that it comes out of a tunnel, and does not
            [f'iifname != "lo" ip{v} saddr {braced(found)} counter name "spoofed" drop' for v, found in _split(pools)],
            [f'iifname != "lo" ip{v} daddr {braced(found)} counter name "unasked" drop' for v, found in _split(closed)],
        ),
        # before connection tracking: what is dropped here leaves no entry there
        _OWN.format("prerouting", -250),
    )
    yield Chain(
        "inside",
        ("iifname . ip saddr @own4 accept", "iifname . ip6 saddr @own6 accept", 'counter name "spoofed" drop'),
    )
    yield Chain(
        "local",
        rules(
            f"iifname != {devices} accept",
            "ct state established,related accept",
            _counted(gateway, "saddr", "opened"),
            [f"ip daddr {own} icmp type echo-request accept" for own in by_version(inner, 4)],
            [f"ip6 daddr {own} icmpv6 type echo-request accept" for own in by_version(inner, 6)],
            'counter name "host" drop',
        ),
        _OWN.format("input", -10),
    )
    yield Chain(
        "outward",
        rules(
            f'oifname != {uplinks} counter name "elsewhere" drop',
            # link-local addresses are not to be forwarded (RFC 3927, 2.7), and providers keep their secrets behind one
            'ip daddr 169.254.0.0/16 counter name "elsewhere" drop',
            _passing(gateway, "saddr", "out"),
        ),
    )
    yield Chain("inward", rules(_inbound(gateway, uplinks), _passing(gateway, "daddr", "in")))
    yield Chain(
        "through",
        rules(
            f'iifname {devices} oifname {devices} counter name "isolated" drop',
            f"iifname {devices} goto outward",
            f"oifname {devices} goto inward",
            'counter name "elsewhere" drop' if gateway.drops_others else "",
        ),
        _OWN.format("forward", -10),
    )
    if gateway.masquerade:
        yield Chain(
            "hide",
            tuple(f"oifname {uplinks} ip{v} saddr {braced(found)} masquerade" for v, found in _split(pools)),
            "type nat hook postrouting priority srcnat; policy accept;",
        )


def _inbound(gateway: Gateway, uplinks: str) -> tuple[str, ...]:
    states = "established,related" if gateway.masquerade else "new,established,related"
    return (
        f'iifname != {uplinks} counter name "inbound" drop',
        f'ct state != {braced([states])} counter name "inbound" drop',
    )


def _passing(gateway: Gateway, side: str, way: str) -> tuple[str, ...]:
    """Return what is done with a tunnel's packets: policed, each tunnel's and all, counted, numbered, and classed."""
    limited = tuple(f'limit name {ip} {side} map @{way}{v} counter name "over_rate" drop' for v, ip, _ in FAMILIES)
    total = f'limit name "total_{way}" counter name "over_rate" drop' if gateway.capacity.bandwidth else ""
    numbered = tuple(f"ct state new ct mark set {ip} {side} map @number{v}" for v, ip, _ in FAMILIES)
    classed = tuple(f"{ip} {side} vmap @class{v}" for v, ip, _ in FAMILIES)
    # hidden, nobody opens a connection to a tunnel
    counted = () if way == "in" and gateway.masquerade else _counted(gateway, side, OPENED[way])
    return rules(limited, counted, numbered, classed, total)


def _counted(gateway: Gateway, side: str, name: str) -> tuple[str, ...]:
    """Return what bounds the connections of each tunnel, so that none fills the table that all connections share.

    A connection counts by its first packet alone; `new` are also those that follow it before an answer.
    """
    most = gateway.capacity.connections
    return tuple(
        f"ct state new ct status ! confirmed add @{name}{v} {{ {ip} {side} ct count over {most} }}"
        ' counter name "over_connections" drop'
        for v, ip, _ in FAMILIES
    )


def shares(total: int) -> tuple[tuple[str, int], ...]:
    """Return the aggregate buckets. What is not interactive leaves a tenth free, so that interactive packets find room.

    Nothing is queued here, as ADR 0005 has it, so a share is what priority would be.
    """
    return (("total", total), ("rest", total - total // 10))


def _rest(devices: str) -> tuple[str, ...]:
    ways = (("iifname", "out"), ("oifname", "in"))
    return tuple(f'{side} {devices} limit name "rest_{way}" counter name "over_rate" drop' for side, way in ways)


def _treated(qos: Qos) -> tuple[str, ...]:
    return (f"ip dscp set {qos.dscp}", f"ip6 dscp set {qos.dscp}", f"meta priority set {PRIORITY[qos]}")


def _split(texts: Iterable[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield addresses or networks by family, with the suffix of the family's keyword."""
    texts = tuple(network(text) if "/" in text else address(text) for text in texts)
    for suffix, version in (("", 4), ("6", 6)):
        found = by_version(texts, version)
        if found:
            yield suffix, found
