"""All connections of one turn, found by what an application or the proxy knows of them.

The two know the same connection by different ports where the kernel had to give it another one (system/translations).
"""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address

from pointsman.model.connection import Connection
from pointsman.node.records import Pair
from pointsman.system import connections, translations


class Sockets:
    """The connections that were found. `entries` are the ports by which the proxy takes in captured ones."""

    def __init__(self, found: Iterable[Connection], entries: Iterable[int]) -> None:
        doors, every = frozenset(entries), tuple(found)
        self._doors = doors
        self._by_points = {one.points: one for one in every}
        self._taken_in = {one.points[1]: one for one in every if one.local_port in doors and not one.leaves}

    def of(self, pair: Pair) -> Connection | None:
        """Return the connection with these ends as the proxy writes them down, as its user's; None without one."""
        one = self._by_points.get(pair)
        if one is None and (taken := self._taken_in.get(pair[0])):
            called = translations.caller_of((taken.local, taken.local_port), (taken.remote, taken.remote_port))
            uid = connections.owner(*called) if called else None
            one = replace(taken, uid=uid) if uid is not None else None
        return one

    def captured(self, one: Connection) -> bool:
        """Return whether an application's connection, wherever it goes by its own account, leads to the proxy."""
        led = translations.redirected_to((one.local, one.local_port), (one.remote, one.remote_port))
        return led is not None and led[1] in self._doors and ip_address(led[0]).is_loopback
