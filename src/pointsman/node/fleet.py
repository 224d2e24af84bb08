"""The tunnels of this node: each looked after on its own, so that one that is stuck holds up no other."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from pointsman.model.fault import Fault
from pointsman.model.profile import Health
from pointsman.model.tunnel import Entry, Kind, State, Tunnel
from pointsman.system.log import Log
from pointsman.tunnels import attempts, lifecycle
from pointsman.tunnels.attempts import Attempts
from pointsman.tunnels.health import Pulse, judged
from pointsman.tunnels.lifecycle import Event, Life
from pointsman.tunnels.pool import Pool, Supply
from pointsman.tunnels.port import NO_LINKS, Berth, Driver, Links, Observation, berth, tunnel_at


class Fleet:
    """Brings up what the pool offers and says what is there. Times are in seconds of a clock that never jumps."""

    def __init__(
        self, pool: Pool, drivers: Mapping[Kind, Driver], runtime: Path, uid: int, links: Callable[[], Links], log: Log
    ) -> None:
        """`links` looks at all links at once, or raises `Fault`."""
        self._drivers = drivers
        self._links = links
        self._log = log
        self._runtime = runtime
        self._uid = uid
        self._supplies: dict[str, Supply] = {}
        self._berths: dict[str, Berth] = {}
        self._lives: dict[str, Life] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._seen: dict[str, Observation] = {}
        self._revived: dict[str, float] = {}
        self._sent_before: dict[str, int] = {}
        self._pulses: dict[str, tuple[Pulse, Health]] = {}
        self._attempts: dict[str, Attempts] = {}
        self._up_since: dict[str, float] = {}
        for supply in pool.supplies:
            self.add(supply)

    @property
    def supplies(self) -> tuple[Supply, ...]:
        """Return all that it looks after."""
        return tuple(self._supplies.values())

    def add(self, supply: Supply, drains: bool = False) -> None:
        """Look after one more tunnel from now on; one that `drains` only finishes what it carries."""
        name = supply.entry.name
        self._berths[name] = self._berth(name)
        self._lives[name] = Life(State.DRAINING) if drains else Life()
        self._locks[name] = threading.Lock()
        self._seen[name] = Observation(State.GONE, self._berths[name].link)
        self._supplies[name] = supply

    async def remove(self, name: str) -> Fault | None:
        """Take a tunnel down and look after it no more; return what failed."""
        supply = self._supplies.pop(name, None)
        fault = None if supply is None else await asyncio.to_thread(self._stop, supply)
        kept = (self._berths, self._lives, self._locks, self._seen, self._revived, self._sent_before, self._up_since)
        for known in kept:
            known.pop(name, None)
        return fault

    async def turn(self) -> None:
        """Look at every tunnel, repair its link, and start what has no daemon."""
        try:
            links = await asyncio.to_thread(self._links)
        except Fault:  # each driver then looks for itself, and says what fails
            links = NO_LINKS
        await asyncio.gather(*(asyncio.to_thread(self._tend, name, links) for name in tuple(self._supplies)))

    async def tend(self, name: str) -> None:
        """Do so for one tunnel."""
        await asyncio.to_thread(self._tend, name, NO_LINKS)

    def heed(self, pulses: Mapping[str, tuple[Pulse, Health]], now: float) -> None:
        """Take what the probes say of the tunnels by name, at once and until they say something else."""
        self._pulses = dict(pulses)
        for supply in tuple(self._supplies.values()):
            if supply.entry.name in pulses:
                self._judge(supply.entry, now)

    def weigh(self, found: Mapping[str, Attempts], now: float) -> None:
        """Take what requests came to on the tunnels by name. It counts for those that no probe speaks for."""
        self._attempts = dict(found)
        for supply in tuple(self._supplies.values()):
            if supply.entry.name in found:
                self._judge(supply.entry, now)

    def lose(self, name: str, why: str) -> None:
        """Count a tunnel as failed, whatever its daemon says."""
        life = lifecycle.moved(self._lives[name], Event.LOST, time.monotonic())
        self._live(name, replace(life, why=why))

    def retire(self, name: str, at_once: bool = False) -> None:
        """Count a tunnel as draining: it finishes what it carries, and takes nothing new; `at_once` as gone."""
        if name in self._lives:
            self._live(name, lifecycle.moved(self._lives[name], Event.RETIRED, time.monotonic()))
            if at_once:
                self.lose(name, "it was taken away")

    def state(self, name: str) -> State:
        """Return where a tunnel is in its life."""
        return self._lives[name].state if name in self._lives else State.GONE

    async def stop(self) -> tuple[Fault, ...]:
        """Take every tunnel down; return what failed, also when it was tried again."""
        await asyncio.gather(*map(self.remove, tuple(self._supplies)))
        return await self.sweep()

    async def sweep(self) -> tuple[Fault, ...]:
        """End what is left at this runtime folder of tunnels that nobody looks after; return what failed."""
        return await asyncio.to_thread(self._sweep)

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """Return the kind of every tunnel, by its name."""
        return {name: supply.entry.kind for name, supply in self._supplies.items()}

    def tunnels(self, tables: Mapping[str, int]) -> tuple[Tunnel, ...]:
        """Return every tunnel as last seen; `tables` gives each one's routing table."""
        return tuple(self._tunnel(supply, tables[name]) for name, supply in self._supplies.items())

    def handshake_age(self, name: str) -> float | None:
        """Return how many seconds ago the gateway last proved itself, None where that is unknown."""
        seen = self._seen.get(name)
        return seen.handshake_age if seen else None

    def took(self) -> dict[str, int]:
        """Return how many bytes each tunnel says it has sent, as last seen."""
        return {name: seen.sent + self._sent_before.get(name, 0) for name, seen in self._seen.items()}

    def _tunnel(self, supply: Supply, table: int) -> Tunnel:
        entry, life = supply.entry, self._lives[supply.entry.name]
        seen = self._seen[entry.name]
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
            cost=entry.cost,
            weight=entry.weight,
            rate=entry.rate,
            outer_dscp=entry.outer_dscp,
            port=seen.port,
        )

    def _judge(self, entry: Entry, now: float) -> None:
        seen = self._judged(entry, self._seen[entry.name], now)
        self._live(entry.name, lifecycle.observed(self._lives[entry.name], seen, now))

    def _judged(self, entry: Entry, seen: Observation, now: float) -> Observation:
        if entry.name in self._pulses:
            return judged(seen, *self._pulses[entry.name])
        if entry.probe or entry.kind is Kind.DIRECT or entry.name not in self._attempts:
            return seen
        return attempts.judged(seen, self._attempts[entry.name], self._up_since.get(entry.name, now), now)

    def _tend(self, name: str, links: Links) -> None:
        lock = self._locks.get(name)
        if lock is None:
            return
        with lock:
            supply = self._supplies.get(name)
            if supply is not None:  # it may have been taken down while the lock was awaited
                self._look_after(supply, links, time.monotonic())

    def _look_after(self, supply: Supply, links: Links, now: float) -> None:
        name, driver = supply.entry.name, self._drivers[supply.entry.kind]
        place = self._berths[name]
        try:
            seen = driver.tend(supply.spec, place, links)
        except Fault as fault:
            self._log.fault(fault)
            seen = Observation(State.FAILED, place.link, why=str(fault))
        life = lifecycle.observed(self._lives[name], self._judged(supply.entry, seen, now), now)
        if lifecycle.due(life, seen.state is not State.GONE, now):
            try:
                driver.start(supply.spec, place)
                life = lifecycle.moved(life, Event.STARTED, now)
            except Fault as fault:
                self._log.fault(fault)
                seen = Observation(State.FAILED, place.link, why=str(fault))
                life = lifecycle.observed(lifecycle.moved(life, Event.STARTED, now), seen, now)
        if lifecycle.forgotten(life, seen, self._revived.get(name, 0.0), now):
            self._revived[name] = now
            seen = self._revive(supply, seen)
        self._seen[name] = seen
        self._live(name, life)

    def _revive(self, supply: Supply, seen: Observation) -> Observation:
        """Greet its gateway anew, and return what is seen then. What it had sent is not forgotten with its session."""
        name, driver = supply.entry.name, self._drivers[supply.entry.kind]
        self._log.event("a gateway is greeted anew", tunnel=name)
        try:
            driver.revive(supply.spec, self._berths[name])
            after = driver.tend(supply.spec, self._berths[name])
        except Fault as fault:
            self._log.fault(fault)
            return seen
        self._sent_before[name] = self._sent_before.get(name, 0) + max(0, seen.sent - after.sent)
        return after

    def _live(self, name: str, life: Life) -> None:
        before, self._lives[name] = self._lives[name], life
        if life.state.carries and not before.state.carries:
            self._up_since[name] = life.since
        if life.state is not before.state:
            self._log.event("a tunnel is now", tunnel=name, state=life.state, why=life.why)

    def _sweep(self) -> tuple[Fault, ...]:
        try:
            links = self._links()
        except Fault as fault:
            return (fault,)
        found = {tunnel_at(self._runtime, name, link.alias) for name, link in links.items()}
        found |= {path.name for path in (self._runtime / "tunnels").glob("*")}
        faults = []
        for name in sorted(found - {"", *tuple(self._supplies)}):
            try:
                for driver in self._drivers.values():  # nobody knows of which kind it was
                    driver.stop(self._berth(name))
            except Fault as fault:
                faults.append(fault)
        return tuple(faults)

    def _berth(self, name: str) -> Berth:
        return berth(self._runtime, name, self._uid, self._uid)

    def _stop(self, supply: Supply) -> Fault | None:
        name = supply.entry.name
        with self._locks[name]:
            try:
                self._drivers[supply.entry.kind].stop(self._berths[name])
            except Fault as fault:
                return fault
        return None
