"""Reads the wg-quick file that a user already has. Hooks in it are refused, never executed.

Followed: PrivateKey, ListenPort, Address, MTU; PublicKey, PresharedKey, AllowedIPs, Endpoint, PersistentKeepalive.
Left out with a note: DNS, Table, FwMark, `SaveConfig = false`, since names, routes and marks are decided elsewhere.
Refused: everything else. Problems name keys by their directive and never repeat a secret.
"""

import base64
import binascii
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field

from pointsman.model.problem import Invalid, Place, Problem, did_you_mean
from pointsman.model.tunnel import Endpoint
from pointsman.tunnels.port import Peer, WireguardSpec

DEFAULT_MTU = 1420
# An idle tunnel makes no handshakes, and then nobody can tell it from a dead one
DEFAULT_KEEPALIVE = 10

_INTERFACE = ("privatekey", "listenport", "address", "mtu")
_PEER = ("publickey", "presharedkey", "allowedips", "endpoint", "persistentkeepalive")
_IGNORED = {
    "dns": "names are resolved by the resolvers that the node declares",
    "table": "pointsman keeps routes in tables of its own",
    "fwmark": "pointsman sets the mark of outer packets itself",
}
_HOOKS = ("preup", "postup", "predown", "postdown")
_SPELLING = {
    name.lower(): name
    for name in (
        *("PrivateKey", "ListenPort", "Address", "MTU", "DNS", "Table", "FwMark", "SaveConfig"),
        *("PreUp", "PostUp", "PreDown", "PostDown"),
        *("PublicKey", "PresharedKey", "AllowedIPs", "Endpoint", "PersistentKeepalive"),
    )
}
_MANY = ("address", "allowedips")


@dataclass(frozen=True, slots=True)
class Wgquick:
    """A file as read: what we follow, notes on what we leave out, and where its first `AllowedIPs` stand."""

    spec: WireguardSpec
    notes: tuple[Problem, ...]
    allowed: Place


@dataclass(slots=True)
class _Section:
    kind: str
    place: Place
    values: dict[str, list[tuple[str, Place]]] = field(default_factory=dict)

    def one(self, key: str) -> tuple[str, Place] | None:
        found = self.values.get(key)
        return found[0] if found else None


def parse_wgquick(text: str, file: str) -> Wgquick:
    """Return what a wg-quick file says; raise `Invalid` with everything that is wrong with it."""
    problems: list[Problem] = []
    notes: list[Problem] = []
    sections = list(_sections(text, file, problems, notes))
    interfaces = [section for section in sections if section.kind == "interface"]
    peers = [section for section in sections if section.kind == "peer"]
    whole = Place(file)
    if len(interfaces) != 1:
        hint = "a wg-quick file has exactly one"
        problems.append(Problem(whole, "wg-section", f"{len(interfaces)} `[Interface]` sections", hint))
    if not peers:
        problems.append(Problem(whole, "wg-section", "no `[Peer]` section", "name the gateway in one"))
    interface = interfaces[0] if interfaces else _Section("interface", whole)
    private_key = _key(interface, "privatekey", problems) or ""
    addresses = _addresses(interface, problems)
    port = _number(interface, "listenport", 0, 65535, 0, problems)
    lowest = 1280 if any(":" in address for address in addresses) else 576
    mtu = _number(interface, "mtu", lowest, 9000, DEFAULT_MTU, problems)
    read = tuple(peer for peer in (_peer(section, problems) for section in peers) if peer)
    _distinct(read, whole, problems)
    if problems:
        raise Invalid(problems)
    allowed = next(where for section in peers for _, where in section.values["allowedips"])
    return Wgquick(WireguardSpec(private_key, addresses, read, mtu, port), tuple(notes), allowed)


def _sections(text: str, file: str, problems: list[Problem], notes: list[Problem]) -> Iterator[_Section]:
    section: _Section | None = None
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = raw.split("#", 1)[0].strip()
        place = Place(file, number, len(raw) - len(raw.lstrip()) + 1)
        if not line:
            continue
        if line.startswith("["):
            kind = line.lower()
            if kind not in ("[interface]", "[peer]"):
                hint = "known are `[Interface]` and `[Peer]`"
                problems.append(Problem(place, "wg-section", f"unknown section `{_shown(line)}`", hint))
                kind = "[]"
            section = _Section(kind[1:-1], place)
            yield section
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        # a key that slipped onto a line of its own ends in `=` too, and must not be repeated in a message
        if not equals or not key.isalpha() or len(key) > 24:
            problems.append(Problem(place, "wg-syntax", "neither a section nor `Key = value`", "see wg-quick(8)"))
        elif section is None:
            problems.append(Problem(place, "wg-syntax", f"`{_shown(key)}` stands before the first section"))
        elif section.kind:
            _take(section, key, value, place, problems, notes)


def _take(section: _Section, key: str, value: str, place: Place, problems: list[Problem], notes: list[Problem]) -> None:
    name = key.lower()
    shown = _SPELLING.get(name, _shown(key))
    known = _INTERFACE if section.kind == "interface" else _PEER
    if name in known:
        if name in section.values and name not in _MANY:
            hint = f"it is on line {section.values[name][0][1].line} already"
            problems.append(Problem(place, "wg-duplicate", f"`{shown}` stands twice in one section", hint))
            return
        section.values.setdefault(name, []).append((value, place))
    elif section.kind == "interface" and name in _HOOKS:
        hint = "remove the line; pointsman never executes commands from a tunnel file"
        problems.append(Problem(place, "wg-hook", f"`{shown}` is a hook", hint))
    elif section.kind == "interface" and name == "saveconfig" and value.lower() != "false":
        hint = "remove the line; pointsman does not write into your files"
        problems.append(Problem(place, "wg-unsupported", "`SaveConfig` is not supported", hint))
    elif section.kind == "interface" and (name in _IGNORED or name == "saveconfig"):
        why = _IGNORED.get(name, "pointsman never writes into your files")
        notes.append(Problem(place, "wg-ignored", f"`{shown}` has no effect here", why))
    elif name in _SPELLING:
        hint = "move it to the other section"
        problems.append(Problem(place, "wg-section", f"`{shown}` does not belong into this section", hint))
    else:
        hint = did_you_mean(key, (_SPELLING[word] for word in known))
        problems.append(Problem(place, "wg-unsupported", f"`{shown}` is not supported", hint))


def _key(section: _Section, name: str, problems: list[Problem], required: bool = True) -> str | None:
    found = section.one(name)
    shown = _SPELLING[name]
    if found is None:
        if required:
            problems.append(Problem(section.place, "wg-missing", f"`{shown}` is missing"))
        return None
    text, place = found
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 32 or base64.b64encode(raw).decode() != text:
        hint = "`wg genkey`, `wg pubkey` and `wg genpsk` write such keys"
        problems.append(Problem(place, "wg-key", f"`{shown}` is not a key: 32 bytes in base64", hint))
        return None
    if not any(raw):
        hint = "leave it out" if not required else ""
        problems.append(Problem(place, "wg-key", f"`{shown}` is all zeros, which counts as no key", hint))
        return None
    return text


def _addresses(section: _Section, problems: list[Problem]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for word, place in _words(section, "address"):
        try:
            interface = ipaddress.ip_interface(word)
        except ValueError:
            problems.append(
                Problem(place, "wg-address", f"`{_shown(word)}` is not an address", "for example `10.71.0.2/32`")
            )
            continue
        if isinstance(interface, ipaddress.IPv6Interface) and interface.scope_id is not None:
            problems.append(Problem(place, "wg-address", f"`{_shown(word)}` has a zone", "write it without `%`"))
        elif interface.ip.is_multicast or interface.ip.is_unspecified or interface.ip.is_loopback:
            problems.append(Problem(place, "wg-address", f"`{_shown(word)}` cannot be a host's address"))
        else:
            found[str(interface.ip)] = None
    if not found and not section.values.get("address"):
        hint = "the gateway's operator tells which address is yours"
        problems.append(Problem(section.place, "wg-missing", "`Address` is missing", hint))
    return tuple(found)


def _peer(section: _Section, problems: list[Problem]) -> Peer | None:
    before = len(problems)
    public = _key(section, "publickey", problems)
    preshared = _key(section, "presharedkey", problems, required=False)
    endpoint = _endpoint(section, problems)
    allowed = _networks(section, problems)
    keepalive = _keepalive(section, problems)
    if len(problems) > before or public is None or endpoint is None:
        return None
    return Peer(public, endpoint, allowed, keepalive, preshared or "")


def _endpoint(section: _Section, problems: list[Problem]) -> Endpoint | None:
    found = section.one("endpoint")
    if found is None:
        hint = "this host calls the gateway, so it must know where it is"
        problems.append(Problem(section.place, "wg-missing", "`Endpoint` is missing", hint))
        return None
    text, place = found
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536) or not bare:
        hint = "for example `203.0.113.5:51820` or `[2001:db8::5]:51820`"
        problems.append(Problem(place, "wg-endpoint", f"`{_shown(text)}` is not an endpoint", hint))
        return None
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        hint = "write the address: the guard frees outer packets by address, and names are not resolved"
        problems.append(Problem(place, "wg-endpoint-name", f"`{_shown(bare)}` is not an address", hint))
        return None
    if address.is_multicast or address.is_unspecified or "%" in bare:
        problems.append(Problem(place, "wg-endpoint", f"`{_shown(text)}` cannot be a gateway's address"))
        return None
    return Endpoint(str(address), int(port), "udp")


def _networks(section: _Section, problems: list[Problem]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for word, place in _words(section, "allowedips"):
        try:
            found[str(ipaddress.ip_network(word, strict=False))] = None
        except ValueError:
            hint = "for example `0.0.0.0/0, ::/0`"
            problems.append(Problem(place, "wg-network", f"`{_shown(word)}` is not a network", hint))
    if not section.values.get("allowedips"):
        hint = "`0.0.0.0/0, ::/0` lets everything through that policy sends here"
        problems.append(Problem(section.place, "wg-missing", "`AllowedIPs` is missing", hint))
    return tuple(found)


def _keepalive(section: _Section, problems: list[Problem]) -> int:
    found = section.one("persistentkeepalive")
    if found is None or found[0].lower() in ("off", "0"):
        return DEFAULT_KEEPALIVE
    return _number(section, "persistentkeepalive", 1, 65535, DEFAULT_KEEPALIVE, problems)


def _number(section: _Section, name: str, low: int, high: int, default: int, problems: list[Problem]) -> int:
    found = section.one(name)
    if found is None:
        return default
    text, place = found
    if text.isascii() and text.isdigit() and len(text) < 7 and low <= int(text) <= high:
        return int(text)
    problems.append(Problem(place, "wg-number", f"`{_SPELLING[name]}` is not a number from {low} to {high}"))
    return default


def _distinct(peers: tuple[Peer, ...], place: Place, problems: list[Problem]) -> None:
    keys = [peer.public_key for peer in peers]
    if len(set(keys)) < len(keys):
        problems.append(Problem(place, "wg-duplicate", "two peers have the same `PublicKey`"))
    networks = [network for peer in peers for network in peer.allowed]
    for network in sorted({network for network in networks if networks.count(network) > 1}):
        hint = "only the last one would get these packets"
        problems.append(Problem(place, "wg-duplicate", f"`{network}` is in `AllowedIPs` of two peers", hint))


def _words(section: _Section, name: str) -> Iterator[tuple[str, Place]]:
    for value, place in section.values.get(name, []):
        for word in value.split(","):
            yield word.strip(), place


def _shown(text: str) -> str:
    kept = "".join(letter if letter.isprintable() else "?" for letter in text[:40])
    return kept + ("…" if len(text) > 40 else "")
