"""Where a captured connection enters the proxy: the entry port that says all that the kernel knows of it.

The chains write the entry into the priority of a connection's first packet, which nothing else looks at on `lo`; one
redirect goes by it, and so does the entry itself, which lets in nothing that was meant for another.

HTTP-only ports go by user alone. For the others the kernel first finds the declared destination by address and port,
then walks the policy's diagram to the lane that a plain TCP flow would take, and picks the entry of that lane. A flow
without such an entry is not captured, and the guard refuses it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from itertools import pairwise

from pointsman.dataplane.flows import REFUSED, Walk
from pointsman.dataplane.nftables import Chain, braced, comment, ports
from pointsman.dataplane.sharing import Shares, by_family
from pointsman.model.diagram import Leaf, Node
from pointsman.model.entry import Entry, Mode
from pointsman.model.policy import Destination, Ports

Captured = Sequence[tuple[Mode, Ports]]


@dataclass(frozen=True, slots=True)
class Capture:
    """The chains that choose the entry of a connection; the first is where every captured flow goes in.

    `ports` are what it captures, `owned` the entries of single users, with their ids. `unwritten` lists conditions that
    the kernel cannot tell and that therefore refuse plain TCP flows.
    """

    entries: tuple[int, ...] = ()
    owned: tuple[tuple[int, int], ...] = ()
    ports: Ports = ()
    chains: tuple[Chain, ...] = ()
    unwritten: tuple[str, ...] = ()


UNCAPTURED = Capture()
_MAJOR = 0x7113


def chosen(port: int) -> str:
    """Return the priority that stands for an entry, as `tc` writes it."""
    return f"{_MAJOR:x}:{port:x}"


def compile_capture(
    captured: Captured,
    entries: Iterable[Entry],
    destinations: Iterable[Destination],
    diagram: Callable[[tuple[str, ...]], Node],
    lane: Callable[[Leaf], str],
    shares: Shares | None = None,
) -> Capture:
    """Return the chains for these captured ports.

    `diagram` returns the plain TCP diagram for a flow whose address and port fit the named destinations: none, one,
    or several in order of name. `lane` returns the cluster for a leaf, empty where it refuses; `shares` are by profile
    the lanes that share its connections, that one among them.
    """
    entries = tuple(sorted(entries, key=lambda entry: entry.port))
    modes = {mode: ranges for mode, ranges in captured if ranges}
    plain: dict[Mode, Ports] = {mode: ranges for mode, ranges in modes.items() if mode is not Mode.HTTP}
    names = {"": REFUSED}
    for entry in entries:
        names.setdefault(entry.lane, f"lane{len(names)}")
    shared, ways = _shared(shares or {}, names)
    walk = Walk(lambda leaf: ways.get(lane(leaf), REFUSED))

    first: list[str] = []
    if Mode.HTTP in modes:
        first += _choices(f"tcp dport {ports(modes[Mode.HTTP])}", Mode.HTTP, "", entries)
    chains: list[Chain] = []
    if plain:
        first.append(f"tcp dport != {ports(_merged(plain))} return")
        first += _zones(tuple(destinations), diagram, walk, chains)
        first.append(f"goto {walk.enter(diagram(()))}")
    outcomes = [_outcome(name, cluster, plain, entries) for cluster, name in names.items()]
    return Capture(
        tuple(entry.port for entry in entries),
        tuple((entry.port, entry.uid) for entry in entries if entry.uid is not None),
        _merged(modes),
        (Chain("captured", tuple(first)), *chains, *reversed(walk.chains), *shared, *outcomes),
        tuple(walk.unwritten),
    )


def _shared(shares: Shares, names: dict[str, str]) -> tuple[list[Chain], dict[str, str]]:
    """Return the chains that share connections among lanes, and by cluster the chain that its flows go to first."""
    chains, first = [], dict(names)
    for number, parts in enumerate(shares.values()):
        chain = Chain(
            f"shared{number}",
            (*by_family(parts, lambda lane: names.get(lane.cluster, REFUSED)), f"goto {REFUSED}"),
        )
        chains.append(chain)
        first |= {lane.cluster: chain.name for lane, _ in parts}
    return chains, first


def _outcome(name: str, cluster: str, plain: dict[Mode, Ports], entries: tuple[Entry, ...]) -> Chain:
    lines = [line for mode in plain for line in _choices(f"tcp dport {ports(plain[mode])}", mode, cluster, entries)]
    if lines and cluster:
        lines[0] += f" {comment(cluster)}"
    return Chain(name, tuple(lines))


def _choices(match: str, mode: Mode, cluster: str, entries: tuple[Entry, ...]) -> list[str]:
    """Return the entries of one mode and lane: users with an entry of their own first, then all others."""
    fit = [entry for entry in entries if entry.mode is mode and entry.lane == cluster]
    own = [f"{entry.uid} : {chosen(entry.port)}" for entry in fit if entry.uid is not None]
    shared = [entry.port for entry in fit if entry.uid is None]
    lines = [f"{match} meta priority set meta skuid map {braced(own)} accept"] if own else []
    return lines + [f"{match} meta priority set {chosen(port)} accept" for port in shared[:1]]


def _zones(
    destinations: tuple[Destination, ...],
    diagram: Callable[[tuple[str, ...]], Node],
    walk: Walk,
    chains: list[Chain],
) -> list[str]:
    """Return the lookups by address; destinations that share addresses share a chain that tells them apart by port."""
    names: dict[tuple[Destination, ...], str] = {}
    lines: list[str] = []
    for family, key in ((4, "ip daddr"), (6, "ip6 daddr")):
        items = []
        for span, group in _cells(destinations, family):
            if group not in names:
                names[group] = f"zone{len(names)}"
                chains.append(Chain(names[group], tuple(_by_port(group, diagram, walk))))
            items.append(f"{span} : goto {names[group]}")
        if items:
            lines.append(f"{key} vmap {braced(items)}")
    return lines


def _by_port(group: tuple[Destination, ...], diagram: Callable[[tuple[str, ...]], Node], walk: Walk) -> Iterable[str]:
    spans = [(low, high, item) for item in group for low, high in item.ports or ((0, 65535),)]
    edges = sorted({low for low, _, _ in spans} | {high + 1 for _, high, _ in spans} | {0, 65536})
    verdicts = []
    for low, after in pairwise(edges):
        fit = tuple(sorted({item.name for first, last, item in spans if first <= low and after - 1 <= last}))
        span = str(low) if after - 1 == low else f"{low}-{after - 1}"
        verdicts.append((span, walk.enter(diagram(fit))))
    if len(verdicts) == 1:
        return [f"goto {verdicts[0][1]}"]
    return [f"tcp dport vmap {braced(f'{span} : goto {name}' for span, name in verdicts)}"]


def _cells(destinations: tuple[Destination, ...], family: int) -> list[tuple[str, tuple[Destination, ...]]]:
    """Cut the address space of a family at every network's ends; return the pieces that belong to any destination."""
    starts: dict[int, list[Destination]] = {}
    ends: dict[int, list[Destination]] = {}
    for item in destinations:
        for text in item.addresses:
            net = ip_network(text)
            if net.version == family:
                starts.setdefault(int(net.network_address), []).append(item)
                ends.setdefault(int(net.broadcast_address) + 1, []).append(item)
    open_now: dict[str, int] = {}
    by_name = {item.name: item for item in destinations}
    edges = sorted({*starts, *ends})
    cells = []
    for low, after in pairwise(edges):
        for item in ends.get(low, ()):
            open_now[item.name] -= 1
        for item in starts.get(low, ()):
            open_now[item.name] = open_now.get(item.name, 0) + 1
        group = tuple(by_name[name] for name in sorted(open_now) if open_now[name])
        if group:
            cells.append((_span(low, after - 1, family), group))
    return cells


def _span(low: int, high: int, family: int) -> str:
    size = 32 if family == 4 else 128
    first = ip_address(low.to_bytes(size // 8, "big"))
    if low == high:
        return str(first)
    return f"{first}-{ip_address(high.to_bytes(size // 8, 'big'))}"


def _merged(modes: Mapping[Mode, Ports]) -> Ports:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(item for ranges in modes.values() for item in ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)
