"""Did it leave the way that was decided? Sockets as the kernel has them and records, held against lanes. Pure.

What leaves carries mark, device and source address of exactly one lane. Whatever else it carries is wrong, and both
sides of that are named.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pointsman.model.connection import GONE, Connection
from pointsman.model.tunnel import Lane


class Reason(StrEnum):
    """What does not fit: the label of `pointsman_misrouted_total`. docs/operations.md says what to do with each.

    Of a socket the mark, device or source; of its mark the route; of a request the lane; of a tunnel less than the
    guard let out, or more than any lane counted; packets of the proxy that the guard held; a captured user's connection
    that no entry serves.
    """

    MARK = "mark"
    DEVICE = "device"
    SOURCE = "source"
    ROUTE = "route"
    LANE = "lane"
    SHORT = "short"
    STRAY = "stray"
    HELD = "held"
    ESCAPED = "escaped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that went another way than decided. `decided` and `observed` are its two sides, in words."""

    reason: Reason
    decided: str
    observed: str


@dataclass(frozen=True, slots=True)
class Right:
    """The socket carries everything of this lane (named by its cluster)."""

    connection: Connection
    lane: str


@dataclass(frozen=True, slots=True)
class Old:
    """The socket's lane or device is no more: nothing can leave by it, and it has to end."""

    connection: Connection


@dataclass(frozen=True, slots=True)
class Wrong:
    """The socket is no lane's."""

    connection: Connection
    finding: Finding


def judge(
    connections: Iterable[Connection], lanes: Iterable[Lane], old: Iterable[int] = ()
) -> list[Right | Old | Wrong]:
    """Judge each connection of the proxy that leaves the host. `old` are the marks of lanes that were there before."""
    by_mark = {lane.mark: lane for lane in lanes}
    before = frozenset(old)
    return [_judge(connection, by_mark, before) for connection in connections]


def _judge(seen: Connection, by_mark: Mapping[int, Lane], old: frozenset[int]) -> Right | Old | Wrong:
    lane = by_mark.get(seen.mark)
    if (lane is None and seen.mark in old) or seen.device.startswith(GONE):
        return Old(seen)
    if lane is None:
        meant = [one for one in by_mark.values() if seen.device == one.device and seen.local in one.sources]
        decided = " or ".join(_of_lane(one) for one in meant) or "a lane"
        return Wrong(seen, Finding(Reason.MARK, decided, _of_socket(seen)))
    if seen.device != lane.device:
        return Wrong(seen, Finding(Reason.DEVICE, _of_lane(lane), _of_socket(seen)))
    if seen.local not in lane.sources:
        return Wrong(seen, Finding(Reason.SOURCE, _of_lane(lane), _of_socket(seen)))
    return Right(seen, lane.cluster)


def _of_lane(lane: Lane) -> str:
    return f"{lane.cluster}: mark {lane.mark:#010x}, device {lane.device}, source {' or '.join(lane.sources)}"


def _of_socket(seen: Connection) -> str:
    local, remote = seen.points
    return f"{local} to {remote}: mark {seen.mark:#010x}, device {seen.device or 'any'}"


def carrying(rights: Iterable[Right], lanes: Iterable[Lane]) -> list[tuple[Lane, str]]:
    """Return the lanes that carry something now, each with the addresses that it goes to."""
    by_name = {lane.cluster: lane for lane in lanes}
    pairs = sorted({(one.lane, one.connection.remote) for one in rights if one.lane in by_name})
    return [(by_name[name], remote) for name, remote in pairs]


def detour(lane: Lane, remote: str, way: str) -> Finding | None:
    """Return what is wrong where rules and routes lead a lane's mark to another device, and not to none."""
    if way in ("", lane.device):
        return None
    observed = f"a packet to {remote} with this mark would be routed by {way}"
    return Finding(Reason.ROUTE, _of_lane(lane), observed)


def escaped(
    connections: Iterable[Connection],
    entries: Iterable[int],
    freed: Iterable[int],
    inbound: Iterable[int],
    places: Iterable[tuple[str, int]],
) -> list[Connection]:
    """Return the connections of captured users that nothing frees and that no entry of the proxy serves.

    `freed` are user ids, `inbound` local ports, `places` addresses with ports that are free to be asked. An
    application's captured connection looks from its own side as if it left; the proxy's end of it tells.
    """
    connections = tuple(connections)
    doors, users, ports, asked = frozenset(entries), frozenset(freed), frozenset(inbound), frozenset(places)
    served = {(one.remote, one.remote_port) for one in connections if not one.leaves and one.local_port in doors}
    return [
        one
        for one in connections
        if one.leaves
        and one.uid not in users
        and one.local_port not in ports
        and (one.remote, one.remote_port) not in asked
        and (one.local, one.local_port) not in served
    ]


def escape(seen: Connection) -> Finding:
    """Return what is wrong with a connection that escaped."""
    local, remote = seen.points
    return Finding(Reason.ESCAPED, f"user {seen.uid} leaves through the proxy", f"{local} to {remote}, by itself")
