"""All connections of one turn, found by what an application or the proxy knows of them.

The two know the same connection by different ports where the kernel had to give it another one (system/translations).
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
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
        # the proxy's ends of captured connections
        self.taken_in = tuple(one for one in every if one.local_port in doors and not one.leaves)
        self._by_caller = {one.points[1]: one for one in self.taken_in}
        self._every = every

    def seeming(self, taken: Connection) -> frozenset[int]:
        """Return who may be at the other end of what the proxy has taken in.

        It is another where the kernel gave the connection other ports; what was closed seems to be root's.
        """
        return frozenset(self._users.get((taken.remote, taken.remote_port), set()) - {taken.uid})

    def user_of(self, taken: Connection) -> int | None:
        """Return who is at the other end of what the proxy has taken in, None where nobody holds it any more."""
        called = translations.caller_of((taken.local, taken.local_port), (taken.remote, taken.remote_port))
        return connections.owner(*called) if called else None

    @cached_property
    def _users(self) -> dict[tuple[str, int], set[int]]:
        users: dict[tuple[str, int], set[int]] = {}
        for one in self._every:
            users.setdefault((one.local, one.local_port), set()).add(one.uid)
        return users

    def of(self, pair: Pair) -> Connection | None:
        """Return the connection with these ends as the proxy writes them down, as its user's; None without one."""
        one = self._by_points.get(pair)
        if one is None and (taken := self._by_caller.get(pair[0])):
            uid = self.user_of(taken)
            one = replace(taken, uid=uid) if uid is not None else None
        return one

    def captured(self, one: Connection) -> bool:
        """Return whether an application's connection, wherever it goes by its own account, leads to the proxy."""
        led = translations.redirected_to((one.local, one.local_port), (one.remote, one.remote_port))
        return led is not None and led[1] in self._doors and ip_address(led[0]).is_loopback
