"""The tunnels of this node: each looked after on its own, so that one that is stuck holds up no other."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from pointsman.model.fault import Fault
from pointsman.model.profile import Health
from pointsman.model.tunnel import Kind, State, Tunnel
from pointsman.tunnels import lifecycle
from pointsman.tunnels.health import Pulse, judged
from pointsman.tunnels.lifecycle import Event, Life, Order
from pointsman.tunnels.pool import Pool, Supply
from pointsman.tunnels.port import Driver, Observation, berth


class Fleet:
    """Brings up what the pool offers and says what is there. Times are in seconds of a clock that never jumps."""

    def __init__(self, pool: Pool, drivers: Mapping[Kind, Driver], runtime: Path, uid: int) -> None:
        self._pool = pool
        self._drivers = drivers
        self._berths = {s.entry.name: berth(runtime, s.entry.name, uid, uid) for s in pool.supplies}
        self._lives = {s.entry.name: Life() for s in pool.supplies}
        self._seen: dict[str, Observation] = {}
        self._pulses: dict[str, tuple[Pulse, Health]] = {}

    async def turn(self, now: float) -> None:
        """Look at every tunnel, repair its link, and start what has no daemon."""
        await asyncio.gather(*(asyncio.to_thread(self._tend, supply, now) for supply in self._pool.supplies))

    def heed(self, pulses: Mapping[str, tuple[Pulse, Health]], now: float) -> None:
        """Take what the probes say of the tunnels by name, at once and until they say something else."""
        self._pulses = dict(pulses)
        for name in pulses.keys() & self._seen.keys():
            self._lives[name] = lifecycle.observed(self._lives[name], self._judged(name, self._seen[name]), now)

    async def stop(self) -> tuple[Fault, ...]:
        """Take every tunnel down; return what failed."""
        return tuple(
            fault
            for fault in await asyncio.gather(
                *(asyncio.to_thread(self._stop, supply) for supply in self._pool.supplies)
            )
            if fault is not None
        )

    def tunnels(self, tables: Mapping[str, int]) -> tuple[Tunnel, ...]:
        """Return every tunnel as last seen; `tables` gives each one's routing table."""
        return tuple(self._tunnel(supply, tables[supply.entry.name]) for supply in self._pool.supplies)

    def handshake_age(self, name: str) -> float | None:
        """Return how many seconds ago the gateway last proved itself, None where that is unknown."""
        seen = self._seen.get(name)
        return seen.handshake_age if seen else None

    def _tunnel(self, supply: Supply, table: int) -> Tunnel:
        entry, life = supply.entry, self._lives[supply.entry.name]
        seen = self._seen.get(entry.name) or Observation(State.GONE, "")
        return Tunnel(
            name=entry.name,
            kind=entry.kind,
            level=entry.level,
            labels=entry.labels,
            state=life.state,
            device=seen.device,
            sources=seen.sources,
            endpoints=supply.spec.endpoints,
            table=table,
            mtu=seen.mtu,
            why=life.why,
            probe=entry.probe,
        )

    def _judged(self, name: str, seen: Observation) -> Observation:
        return judged(seen, *self._pulses[name]) if name in self._pulses else seen

    def _tend(self, supply: Supply, now: float) -> None:
        name, driver = supply.entry.name, self._drivers[supply.entry.kind]
        place = self._berths[name]
        try:
            seen = driver.tend(supply.spec, place)
        except Fault as fault:
            seen = Observation(State.FAILED, place.link, why=str(fault))
        life = lifecycle.observed(self._lives[name], self._judged(name, seen), now)
        if lifecycle.due(life, True, seen.state is not State.GONE, now) is Order.START:
            try:
                driver.start(supply.spec, place)
                life = lifecycle.moved(life, Event.STARTED, now)
            except Fault as fault:
                seen = Observation(State.FAILED, place.link, why=str(fault))
                life = lifecycle.observed(lifecycle.moved(life, Event.STARTED, now), seen, now)
        self._seen[name], self._lives[name] = seen, life

    def _stop(self, supply: Supply) -> Fault | None:
        try:
            self._drivers[supply.entry.kind].stop(self._berths[supply.entry.name])
        except Fault as fault:
            return fault
        return None
