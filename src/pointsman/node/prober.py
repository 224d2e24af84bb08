"""Asks through every tunnel, all the time, whether its far end still answers: one task for all of them."""

import asyncio
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from pointsman.model.fault import Fault
from pointsman.model.policy import Policy
from pointsman.model.profile import Health
from pointsman.model.tunnel import Tunnel
from pointsman.system.log import Log
from pointsman.system.probe import NONCE, Line
from pointsman.tunnels import health
from pointsman.tunnels.health import Pulse
from pointsman.tunnels.select import misfit

# An answer that comes later than that proves nothing about now
_FORGET = 3.0
_IDLE = 1.0
# With hundreds of paths something is due all the time; all that is due within this is done at once
_TICK = 0.01


@dataclass(frozen=True, slots=True)
class Target:
    """What to ask, on which device and from which address, and what counts as well."""

    device: str
    address: str
    source: str
    limits: Health

    @property
    def path(self) -> tuple[str, str, str]:
        """Return what makes it another path when it changes."""
        return self.device, self.address, self.source


@dataclass(slots=True)
class _Watch:
    target: Target
    line: Line
    due: float
    pulse: Pulse = Pulse()
    broken: bool = False
    waiting: dict[bytes, float] = field(default_factory=dict)
    missed: dict[bytes, float] = field(default_factory=dict)


def targets(policy: Policy, tunnels: Iterable[Tunnel]) -> dict[str, Target]:
    """Return what to probe: every tunnel that says where and has its link, by the strictest profile that may use it."""
    return {
        tunnel.name: Target(
            tunnel.device,
            tunnel.probe,
            _source(tunnel),
            health.strictest(profile.health for profile in policy.profiles if not misfit(tunnel, profile)),
        )
        for tunnel in tunnels
        if tunnel.probe and tunnel.device and tunnel.sources
    }


def _source(tunnel: Tunnel) -> str:
    version = ip_address(tunnel.probe).version
    return next((source for source in tunnel.sources if ip_address(source).version == version), "")


class Prober:
    """The pulses of all tunnels that can be probed. `changed` is called when one dies, suffers or recovers."""

    def __init__(self, changed: Callable[[], None], log: Log) -> None:
        self._changed = changed
        self._log = log
        self._watches: dict[str, _Watch] = {}
        self._away: dict[str, _Watch] = {}  # what was known of paths that cannot be asked now
        self._told = asyncio.Event()

    @property
    def pulses(self) -> dict[str, tuple[Pulse, Health]]:
        """Return what is known of each path that is probed, and what it is held to."""
        every = {**self._away, **self._watches}
        return {name: (watch.pulse, watch.target.limits) for name, watch in every.items()}

    def watch(self, targets: Mapping[str, Target], there: Collection[str]) -> None:
        """Probe these from now on and no others, of the tunnels that are there.

        One whose path changed starts afresh; one that only could not be asked for a while goes on as what it was.
        """
        for name, watch in tuple(self._watches.items()):
            target = targets.get(name)
            if target is None or target.path != watch.target.path or watch.broken:
                self._leave(name)
            else:
                watch.target = target
        self._away = {name: watch for name, watch in self._away.items() if name in there}
        for name in targets.keys() - self._watches.keys():
            self._begin(name, targets[name])
        self._told.set()

    async def run(self) -> None:
        """Probe until cancelled."""
        try:
            while True:
                now = time.monotonic()
                for watch in self._watches.values():
                    self._tend(watch, now)
                self._told.clear()
                due = min((min(w.due, *self._ends(w)) for w in self._watches.values()), default=now + _IDLE)
                try:
                    await asyncio.wait_for(self._told.wait(), max(_TICK, due - time.monotonic()))
                except TimeoutError:
                    continue
        finally:
            self.watch({}, ())

    def _begin(self, name: str, target: Target) -> None:
        try:
            line = Line(*target.path)
        except Fault as fault:
            self._log.fault(fault)
            return
        before = self._away.pop(name, None)
        pulse = before.pulse if before is not None and before.target.path == target.path else Pulse()
        watch = _Watch(target, line, time.monotonic(), pulse)
        self._watches[name] = watch
        asyncio.get_running_loop().add_reader(line, self._hear, watch)

    def _leave(self, name: str) -> None:
        watch = self._away[name] = self._watches.pop(name)
        asyncio.get_running_loop().remove_reader(watch.line)
        watch.line.close()

    def _tend(self, watch: _Watch, now: float) -> None:
        """Count what came, then what did not, then ask again: a loop that was held up has lost nothing."""
        self._hear(watch)
        limits = watch.target.limits
        within = health.patience(watch.pulse, limits)
        for nonce, sent in tuple(watch.waiting.items()):
            if now >= sent + within:
                watch.missed[nonce] = watch.waiting.pop(nonce)
                self._note(watch, health.missed(watch.pulse, limits))
        watch.missed = {nonce: sent for nonce, sent in watch.missed.items() if now < sent + _FORGET}
        if now >= watch.due:
            nonce = secrets.token_bytes(NONCE)
            watch.waiting[nonce] = now
            watch.broken = not watch.line.ask(nonce)
            watch.due = now + limits.interval

    def _hear(self, watch: _Watch) -> None:
        now, limits = time.monotonic(), watch.target.limits
        for nonce in watch.line.answers():
            late = nonce in watch.missed
            sent = watch.missed.pop(nonce, None) if late else watch.waiting.pop(nonce, None)
            if sent is not None:
                self._note(watch, health.answered(watch.pulse, now - sent, limits, late))

    def _note(self, watch: _Watch, pulse: Pulse) -> None:
        before, watch.pulse = watch.pulse, pulse
        if (before.dead, before.poor) != (pulse.dead, pulse.poor):
            self._changed()

    @staticmethod
    def _ends(watch: _Watch) -> list[float]:
        within = health.patience(watch.pulse, watch.target.limits)
        return [sent + within for sent in watch.waiting.values()] or [watch.due]
