"""What passes the gateway, as nftables text: a constant part, and entries for each tunnel. docs/gateway.md tells why.

Entries are added and removed one by one, so that no bucket of another tunnel is filled again by that.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pointsman.dataplane.nftables import address, braced, device, write_chain
from pointsman.dataplane.treatment import bucket
from pointsman.gateway.grant import Grant
from pointsman.gateway.passage import FAMILIES, OPENED, chains, shares
from pointsman.gateway.site import Gateway

TABLE = "pointsman_gateway"
COUNTERS = ("spoofed", "unasked", "host", "isolated", "elsewhere", "inbound", "over_connections", "over_rate")
_HELD = frozenset(f"{name}{v}" for name in ("own", "out", "in", "number", "class") for v, _, _ in FAMILIES)


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
    totals = [Bucket(f"{name}_{way}", rate) for name, rate in shares(total) for way in ("out", "in")] if total else []
    buckets = sorted((*totals, *(entry for entry in present if isinstance(entry, Bucket))))
    elements = [entry for entry in present if isinstance(entry, Element)]
    body = counters + "".join(f"  {_bucket(entry)}\n" for entry in buckets) + _containers(elements)
    body += "".join(_counting(name, 2 * gateway.capacity.tunnels) for name in OPENED.values())
    passing = "".join(write_chain(chain) for chain in chains(gateway, devices))
    return f"table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n{body}{passing}}}\n"


def change_text(put: Iterable[Entry], drop: Iterable[Entry]) -> str:
    """Return the transaction that puts entries and drops others. It fails as a whole where one to drop is not there."""
    lines = [f"delete {_named(entry)}" for entry in sorted(drop, key=_elements_first)]
    lines += [f"add {_full(entry)}" for entry in sorted(put, key=_elements_first, reverse=True)]
    return "".join(f"{line}\n" for line in lines)


def displaced(found: Iterable[Entry], wanted: Iterable[Entry]) -> frozenset[Entry]:
    """Return what is in the way of what is wanted: nft refuses a second value for a key of a map."""
    places = {(entry.container, entry.key) for entry in wanted if isinstance(entry, Element)}
    return frozenset(
        entry for entry in found if isinstance(entry, Element) and (entry.container, entry.key) in places
    ) - frozenset(wanted)


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
        for container in (item[sort] for sort in ("set", "map") if item.get(sort, {}).get("name") in _HELD):
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


def _containers(elements: Iterable[Element]) -> str:
    held: dict[str, list[str]] = {}
    for element in sorted(elements):
        held.setdefault(element.container, []).append(_pair(element))
    text = ""
    for v, _, kind in FAMILIES:
        text += _container("set", f"own{v}", f"ifname . {kind}", held)
        for name, value in (("out", "limit"), ("in", "limit"), ("number", "mark"), ("class", "verdict")):
            text += _container("map", f"{name}{v}", f"{kind} : {value}", held)
    return text


def _container(sort: str, name: str, kind: str, held: dict[str, list[str]]) -> str:
    found = f"    elements = {braced(held[name])}\n" if name in held else ""
    return f"  {sort} {name} {{\n    type {kind}\n{found}  }}\n"


def _counting(name: str, most: int) -> str:
    """Return the sets, kept by the kernel, in which it counts the connections of each tunnel."""
    return "".join(
        f"  set {name}{v} {{\n    type {kind}\n    size {most}\n    flags dynamic\n  }}\n" for v, _, kind in FAMILIES
    )


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
