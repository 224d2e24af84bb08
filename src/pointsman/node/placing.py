"""Is each captured connection in the entry of its user? One in another's is decided as that other, request by request.

It comes to be so when a policy begins to name a user who is connected already. There is no asking its client to begin
anew, so it is ended.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from pointsman.dataplane.entries import PLAIN, class_of
from pointsman.model.connection import Connection
from pointsman.system.log import Log

# Questions to the kernel in one turn: each takes a millisecond or two
MOST_ASKED = 200


class Users(Protocol):
    """Tells whose a connection is."""

    def seeming(self, taken: Connection) -> frozenset[int]:
        """Return who may be at the other end, by what was read already. What was closed seems to be root's."""
        ...

    def user_of(self, taken: Connection) -> int | None:
        """Return who is at the other end, by asking the kernel; None for nobody."""
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
        there = tuple(taken) if classes else ()
        self._right &= {one.handle for one in there}
        wrong, asked = [], 0
        for one in there:
            if one.handle in self._right:
                continue
            number, seeming = class_of(one.local_port), users.seeming(one)
            right = bool(seeming) and all(belongs(uid, number, classes, named) for uid in seeming)
            if not right and (len(seeming) != 1 or 0 in seeming):
                if asked == MOST_ASKED:
                    continue  # the next turn is soon
                asked += 1
                uid = users.user_of(one)
                # whoever has closed it asks nothing any more
                right = uid is None or belongs(uid, number, classes, named)
            if right:
                self._right.add(one.handle)
            else:
                wrong.append(one)
        if wrong:
            self._log.event("connections are in the entries of other users, and end", count=len(wrong))
        return wrong


def belongs(uid: int, number: int, classes: Mapping[int, int], named: Collection[int]) -> bool:
    """Return whether a user may be in the entries of this class: his own, or, if no rule names him, nobody's.

    Plain TCP was decided before it entered.
    """
    return number in (PLAIN, classes.get(uid)) or (uid not in named and number not in classes.values())
