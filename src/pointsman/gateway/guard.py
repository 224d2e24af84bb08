"""What passes the gateway, as nftables text: a constant part, and entries for each tunnel. docs/gateway.md tells why.

Entries are added and removed one by one, so that no bucket of another tunnel is filled again by that.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pointsman.dataplane.nftables import Chain, address, braced, by_version, device, network, rules, write_chain
from pointsman.dataplane.treatment import PRIORITY, bucket
from pointsman.gateway.grant import Grant
from pointsman.gateway.site import Gateway
from pointsman.model.profile import Qos

TABLE = "pointsman_gateway"
COUNTERS = ("spoofed", "unasked", "host", "isolated", "elsewhere", "inbound", "over_rate")
_OWN = "type filter hook {} priority {}; policy accept;"
_FAMILIES = (("4", "ip", "ipv4_addr"), ("6", "ip6", "ipv6_addr"))


@dataclass(frozen=True, slots=True, order=True)
class Element:
    """One element of a set or map of ours; `value` is empty in a set."""

    container: str
    key: str
    value: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Bucket:
    """A named limit. `rate` is in bits per second."""

    name: str
    rate: int


Entry = Element | Bucket


def base_text(gateway: Gateway, present: frozenset[Entry], counted: Mapping[str, tuple[int, int]]) -> str:
    """Return the transaction that puts the whole table in place, with these entries, and counters that go on."""
    devices = braced(device(server.device) for server in gateway.servers)
    counters = "".join(_counter(name, *counted.get(name, (0, 0))) for name in COUNTERS)
    total = gateway.capacity.bandwidth
    totals = [Bucket(f"{name}_{way}", rate) for name, rate in _shares(total) for way in ("out", "in")] if total else []
    buckets = sorted((*totals, *(entry for entry in present if isinstance(entry, Bucket))))
    elements = [entry for entry in present if isinstance(entry, Element)]
    body = counters + "".join(f"  {_bucket(entry)}\n" for entry in buckets) + _containers(elements)
    chains = "".join(write_chain(chain) for chain in _chains(gateway, devices))
    return f"table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n{body}{chains}}}\n"


def change_text(put: Iterable[Entry], drop: Iterable[Entry]) -> str:
    """Return the transaction that puts entries and drops others. It fails as a whole where one to drop is not there."""
    lines = [f"delete {_named(entry)}" for entry in sorted(drop, key=_elements_first)]
    lines += [f"add {_full(entry)}" for entry in sorted(put, key=_elements_first, reverse=True)]
    return "".join(f"{line}\n" for line in lines)


def removal_text() -> str:
    """Return the transaction that removes the table, also where it is not there."""
    return f"table inet {TABLE}\ndelete table inet {TABLE}\n"


def entries(grants: Iterable[Grant], devices: dict[str, str]) -> frozenset[Entry]:
    """Return the entries of these tunnels; `devices` gives the link of each kind."""
    return frozenset(entry for grant in grants for entry in _entries(grant, devices[grant.kind]))


def numbers(found: Iterable[Entry]) -> frozenset[int]:
    """Return the numbers of the tunnels whose entries these are."""
    marks = (entry for entry in found if isinstance(entry, Element) and entry.container.startswith("number"))
    return frozenset(int(entry.value, 16) for entry in marks)


@dataclass(frozen=True, slots=True)
class Found:
    """What the kernel has of our table: the entries, and all rules in one text."""

    entries: frozenset[Entry]
    rules: str


def understand(items: Iterable[Mapping[str, Any]]) -> Found:
    """Return what a listing of the table in JSON (libnftables-json(5)) says."""
    found: set[Entry] = set()
    lines: list[str] = []
    for item in items:
        for container in (item[sort] for sort in ("set", "map") if sort in item):
            found |= {_element(container["name"], said) for said in container.get("elem", ())}
        limit = item.get("limit", {}).get("name", "")
        if limit.startswith("t") and not limit.startswith("total"):
            found.add(Bucket(limit, int(limit.split("_")[1])))
        if "rule" in item:
            lines.append(json.dumps([item["rule"]["chain"], item["rule"]["expr"]], sort_keys=True))
    return Found(frozenset(found), "\n".join(lines))


def _element(container: str, said: Any) -> Element:
    if container.startswith("own"):
        link, own = said["concat"]
        return Element(container, f"{device(link)} . {own}")
    own, value = said
    if isinstance(value, int):
        return Element(container, own, f"0x{value:08x}")
    return Element(container, own, value if isinstance(value, str) else f"jump {value['jump']['target']}")


def _entries(grant: Grant, link: str) -> Iterator[Entry]:
    rate = grant.asked.bandwidth
    # with the rate in its name, a bucket of another rate is another one
    name = f"t{grant.number:x}_{rate}"
    if rate is not None:
        yield Bucket(f"{name}_out", rate)
        yield Bucket(f"{name}_in", rate)
    for text in grant.addresses:
        own, family = address(text), "6" if ":" in text else "4"
        yield Element(f"own{family}", f"{device(link)} . {own}")
        yield Element(f"number{family}", own, f"0x{grant.number:08x}")
        yield Element(f"class{family}", own, f"jump {grant.asked.qos}")
        if rate is not None:
            yield Element(f"out{family}", own, f"{name}_out")
            yield Element(f"in{family}", own, f"{name}_in")


def _chains(gateway: Gateway, devices: str) -> Iterator[Chain]:
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
            [f"ip daddr {own} icmp type echo-request accept" for own in by_version(inner, 4)],
            [f"ip6 daddr {own} icmpv6 type echo-request accept" for own in by_version(inner, 6)],
            'counter name "host" drop',
        ),
        _OWN.format("input", -10),
    )
    yield Chain(
        "outward", rules(f'oifname != {uplinks} counter name "elsewhere" drop', _passing(gateway, "saddr", "out"))
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
    """Return what is done with a tunnel's packets: policed, each tunnel's and all, numbered, and given their class."""
    limited = tuple(f'limit name {ip} {side} map @{way}{v} counter name "over_rate" drop' for v, ip, _ in _FAMILIES)
    total = f'limit name "total_{way}" counter name "over_rate" drop' if gateway.capacity.bandwidth else ""
    numbered = tuple(f"ct state new ct mark set {ip} {side} map @number{v}" for v, ip, _ in _FAMILIES)
    classed = tuple(f"{ip} {side} vmap @class{v}" for v, ip, _ in _FAMILIES)
    return rules(limited, numbered, classed, total)


def _shares(total: int) -> tuple[tuple[str, int], ...]:
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


def _containers(elements: Iterable[Element]) -> str:
    held: dict[str, list[str]] = {}
    for element in sorted(elements):
        held.setdefault(element.container, []).append(_pair(element))
    text = ""
    for v, _, kind in _FAMILIES:
        text += _container("set", f"own{v}", f"ifname . {kind}", held)
        for name, value in (("out", "limit"), ("in", "limit"), ("number", "mark"), ("class", "verdict")):
            text += _container("map", f"{name}{v}", f"{kind} : {value}", held)
    return text


def _container(sort: str, name: str, kind: str, held: dict[str, list[str]]) -> str:
    found = f"    elements = {braced(held[name])}\n" if name in held else ""
    return f"  {sort} {name} {{\n    type {kind}\n{found}  }}\n"


def _pair(element: Element) -> str:
    value = f'"{element.value}"' if element.container[:-1] in ("out", "in") else element.value
    return f"{element.key} : {value}" if value else element.key


def _counter(name: str, packets: int, size: int) -> str:
    return f"  counter {name} {{ packets {packets} bytes {size} }}\n"


def _bucket(entry: Bucket) -> str:
    return f"limit {entry.name} {{ {bucket(entry.rate)} }}"


def _elements_first(entry: Entry) -> tuple[bool, str]:
    return isinstance(entry, Bucket), str(entry)


def _named(entry: Entry) -> str:
    if isinstance(entry, Bucket):
        return f"limit inet {TABLE} {entry.name}"
    return f"element inet {TABLE} {entry.container} {{ {entry.key} }}"


def _full(entry: Entry) -> str:
    if isinstance(entry, Bucket):
        return f"limit inet {TABLE} {entry.name} {{ {bucket(entry.rate)} ; }}"
    return f"element inet {TABLE} {entry.container} {{ {_pair(entry)} }}"
