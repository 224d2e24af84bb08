"""Is each captured connection in the entry of its user? One in another's is decided as that other, request by request.

It comes to be so when a policy begins to name a user who is connected already. There is no asking its client to begin
anew, so it is ended.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from pointsman.dataplane.entries import PLAIN, class_of
from pointsman.model.connection import Connection
from pointsman.system.log import Log


class Users(Protocol):
    """Tells whose a connection is: what is likely costs little, what is certain a question to the kernel."""

    def likely_user(self, taken: Connection) -> int | None:
        """Return who is at the other end, where nothing is out of the ordinary."""
        ...

    def user_of(self, taken: Connection) -> int | None:
        """Return who is at the other end, None for nobody."""
        ...


class Placing:
    """Which connections are where they do not belong; each of the others is asked about once."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._basis: tuple[Mapping[int, int], Collection[int]] = ({}, ())
        self._right: set[bytes] = set()

    def misplaced(
        self, taken: Iterable[Connection], classes: Mapping[int, int], named: Collection[int], users: Users
    ) -> list[Connection]:
        """Return the proxy's ends that have to go, of those that it has taken in.

        `classes` are by user those of the entries now, `named` the users that rules name.
        """
        if (classes, named) != self._basis:
            self._basis, self._right = (classes, named), set()
        there = tuple(taken)
        self._right &= {one.handle for one in there}
        wrong = []
        for one in there:
            if one.handle in self._right:
                continue
            for ask in (users.likely_user, users.user_of):
                uid = ask(one)
                # whoever has closed it asks nothing any more
                if uid is None or belongs(uid, class_of(one.local_port), classes, named):
                    self._right.add(one.handle)
                    break
            else:
                wrong.append(one)
                self._log.event("a connection is in the entry of other users, and ends", client=one.points[1], user=uid)
        return wrong


def belongs(uid: int, number: int, classes: Mapping[int, int], named: Collection[int]) -> bool:
    """Return whether a user may be in the entries of this class: his own, or, if no rule names him, nobody's.

    Plain TCP was decided before it entered.
    """
    return number in (PLAIN, classes.get(uid)) or (uid not in named and number not in classes.values())
