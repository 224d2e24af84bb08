"""The destinations that a policy declares: canonical hosts, networks and ports, and what contradicts itself in them."""

import ipaddress
import re
from collections.abc import Iterable

from pointsman.model.policy import Destination, Ports
from pointsman.model.problem import Place
from pointsman.policy.check import Findings
from pointsman.policy.document import Document
from pointsman.policy.node import shown
from pointsman.policy.schema import DestinationSpec
from pointsman.policy.shape import Shape

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_NUMERIC = re.compile(r"(?:0x[0-9a-f]+|[0-9]+)(?:\.(?:0x[0-9a-f]+|[0-9]+))*")


def destinations(shape: Shape, document: Document, found: Findings) -> tuple[Destination, ...]:
    """Return the declared destinations."""
    declared: list[Destination] = []
    named: list[tuple[str, Place]] = []
    for position, spec in enumerate(shape.policy.destinations):
        at = shape.index("destinations", position)
        named.append((spec.name, document.find("destinations", at, "name")))
        declared.append(_destination(spec, at, document, found))
    found.duplicates("destination", named)
    _overlaps(declared, [place for _, place in named], found)
    return tuple(declared)


def _destination(spec: DestinationSpec, at: int, document: Document, found: Findings) -> Destination:
    place = document.find("destinations", at, "name")
    hosts = [
        _host(text, document.find("destinations", at, "hosts", number), found) for number, text in enumerate(spec.hosts)
    ]
    networks = [
        _network(text, document.find("destinations", at, "addresses", number), found)
        for number, text in enumerate(spec.addresses)
    ]
    ports, calls = (
        _merged(
            _ports(port, document.find("destinations", at, key, number), found) for number, port in enumerate(given)
        )
        for key, given in (("ports", spec.ports), ("grpcPorts", spec.grpc_ports))
    )
    if ports and any(not any(low <= first and last <= high for low, high in ports) for first, last in calls):
        found.add(
            document.find("destinations", at, "grpcPorts"), "ports", f"`{spec.name}` has `grpcPorts` beyond its `ports`"
        )
    if not spec.hosts and not spec.addresses:
        found.add(place, "destination", f"destination `{spec.name}` is nowhere", "give it `hosts`, `addresses` or both")
    elif not spec.addresses and not spec.any_address:
        if any(host.startswith("*.") for host in hosts):
            what = f"nothing says at which addresses destination `{spec.name}` is"
            hint = "DNS cannot list the hosts of a wildcard: declare `addresses`, or write `anyAddress: true` to trust"
            found.add(place, "destination", what, f"{hint} the host that the client names")
        networks = [_network(literal, place, found) for literal in map(_literal, hosts) if literal]
    if spec.any_address and (spec.addresses or not spec.hosts):
        found.add(
            document.find("destinations", at, "anyAddress"),
            "destination",
            "`anyAddress` is for destinations with hosts and without `addresses`",
        )
    for noun, values in (("host", hosts), ("address", networks)):
        for value in {value for value in values if value and values.count(value) > 1}:
            found.add(place, "duplicate-name", f"destination `{spec.name}` has {noun} `{value}` twice")
    return Destination(
        spec.name,
        tuple(host for host in hosts if host),
        tuple(network for network in networks if network),
        ports,
        spec.any_address,
        spec.raw_path,
        resolved=not (spec.addresses or spec.any_address) and not all(map(_literal, hosts)),
        grpc_ports=calls,
    )


def _host(text: str, place: Place, found: Findings) -> str:
    host = text.lower()
    if not host.isascii():
        found.add(place, "host", f"host `{shown(text)}` is not ASCII", "write international names in their `xn--` form")
    elif _address_of(host):
        canonical = _address_of(host)
        if host != canonical:
            found.add(place, "host", f"`{text}` is not a host as clients write it", f"write `{canonical}`")
        return canonical
    elif host.endswith("."):
        found.add(place, "host", f"host `{text}` has a final dot", f"write `{host.rstrip('.')}`")
    elif ":" in host or "/" in host:
        found.add(
            place,
            "host",
            f"host `{text}` is not a plain host name",
            "write it without scheme, port and path; ports go to `ports`",
        )
    elif not _HOST.fullmatch(host) or len(host) > 253 or _NUMERIC.fullmatch(host):
        found.add(
            place, "host", f"host `{shown(text)}` is not a host name", "write it like `api.example` or `*.api.example`"
        )
    else:
        return host
    return ""


def _address_of(host: str) -> str:
    """Return the canonical form of a host that is an address, as it stands in a URL; else nothing."""
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return ""
    return f"[{address}]" if address.version == 6 else str(address)


def _literal(host: str) -> str:
    """Return the address that a host is; nothing where it is a name."""
    return _address_of(host).strip("[]")


def _network(text: str, place: Place, found: Findings) -> str:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        found.add(
            place,
            "address",
            f"`{shown(text)}` is neither an address nor a network",
            "write it like `198.51.100.7` or `2001:db8::/32`",
        )
        return ""
    if "/" in text and str(network) != str(ipaddress.ip_interface(text)):
        found.add(place, "address", f"`{text}` has bits set beyond its prefix", f"write `{network}`")
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is not None:
        found.add(place, "address", f"`{text}` is an IPv4 address in IPv6 clothes", f"write `{mapped}`")
    return str(network)


def _ports(port: int | str, place: Place, found: Findings) -> tuple[int, int] | None:
    if isinstance(port, int):
        return port, port
    low, high = (int(number) for number in port.split("-"))
    if not 1 <= low <= high <= 65535:
        found.add(
            place, "ports", f"`{port}` is not a range of ports", "the lower port comes first, both between 1 and 65535"
        )
        return None
    return low, high


def _merged(ports: Iterable[tuple[int, int] | None]) -> Ports:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(port for port in ports if port is not None):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(high, merged[-1][1])
        else:
            merged.append((low, high))
    return tuple(merged)


def _overlaps(declared: list[Destination], places: list[Place], found: Findings) -> None:
    """Note hosts, and networks of destinations without hosts, that two destinations claim on the same port."""
    claims: dict[str, list[int]] = {}
    for index, destination in enumerate(declared):
        for claim in dict.fromkeys(destination.hosts or destination.addresses):
            earlier = next(
                (other for other in claims.get(claim, []) if _meet(declared[other].ports, destination.ports)), None
            )
            if earlier is not None and declared[earlier].name != destination.name:
                what = f"`{claim}` belongs to destination `{declared[earlier].name}` already"
                found.add(places[index], "overlap", what, "give each its own `ports`, or join them")
            claims.setdefault(claim, []).append(index)


def _meet(one: Ports, other: Ports) -> bool:
    return not one or not other or any(low <= last and first <= high for low, high in one for first, last in other)
