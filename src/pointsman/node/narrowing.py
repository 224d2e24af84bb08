"""After a change of policy: which of what still runs has to end, and by which sockets? Each is asked about once."""

import time
from collections.abc import Callable, Iterable

from pointsman.model.connection import Connection
from pointsman.node import streams
from pointsman.node.records import Pair, Tally
from pointsman.node.streams import Running
from pointsman.policy.diagram import Compiled
from pointsman.system.log import Log

# Seconds after a policy is in force for which a request may begin that the one before has decided
TAKEN_OVER = 1.0

SocketOf = Callable[[Pair], Connection | None]


class Narrowing:
    """What runs against the policy in force, each asked about once."""

    def __init__(self, log: Log, tally: Tally) -> None:
        self._log = log
        self._tally = tally
        self._version, self._altered = "", 0.0
        self._agreed: set[str] = set()
        self._ending: set[str] = set()

    def due(self, running: Iterable[Running], compiled: Compiled, socket_of: SocketOf) -> list[Connection]:
        """Return the sockets that have to go. An agent that has just started asks about everything."""
        if compiled.policy.version != self._version:
            self._version, self._altered = compiled.policy.version, time.time() + TAKEN_OVER
            self._agreed, self._ending = set(), set()
        there = tuple(running)
        keys = {one.key for one in there}
        self._agreed &= keys
        self._ending &= keys
        for one in there:
            if one.began <= self._altered and one.key not in self._agreed | self._ending:
                self._ask(one, compiled, socket_of(one.back))
        return [one for one in map(socket_of, streams.cuts(there, self._ending)) if one is not None]

    def _ask(self, one: Running, compiled: Compiled, caller: Connection | None) -> None:
        why = streams.again(one, compiled, caller.uid if caller else None)
        if not why:
            self._agreed.add(one.key)
            return
        self._ending.add(one.key)
        self._tally.ended += 1
        self._log.event("a change of policy ends what runs", client=one.client, source=one.source, why=why)
