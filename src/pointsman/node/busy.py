"""Which tunnels carried something lately, by the guard's own count of their lanes' packets."""

import time
from collections.abc import Iterable, Mapping
from typing import Protocol

from pointsman.dataplane.nftables import lane_counter
from pointsman.model.tunnel import Lane


class Counting(Protocol):
    """What counts packets and bytes by name."""

    def counters(self) -> Mapping[str, tuple[int, int]]:
        """Return the counters."""
        ...


class Busy:
    """Remembers the last count, and looks again when that is old enough."""

    def __init__(self, every: float = 5.0) -> None:
        """`every` is how many seconds there are between two looks."""
        self._every = every
        self._counted: dict[str, int] = {}
        self._at = float("-inf")

    def look(self, host: Counting, lanes: Iterable[Lane]) -> frozenset[str]:
        """Return the tunnels of lanes that have sent packets since the last look."""
        now = time.monotonic()
        if now - self._at < self._every:
            return frozenset()
        counters = host.counters()
        sent = {lane: counters.get(lane_counter(lane), (0, 0))[0] for lane in lanes}
        moved = {lane.tunnel for lane, count in sent.items() if count != self._counted.get(lane.cluster, 0)}
        self._counted = {lane.cluster: count for lane, count in sent.items()}
        self._at = now
        return frozenset(moved)
