"""The agent: one loop that looks at what is there, works out what should be, and takes the steps between.

Whatever happens to it, the kernel and the proxy go on as they were told last. A new agent adopts them.
"""

import asyncio
import gc
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pointsman.model.fault import Fault
from pointsman.model.policy import Policy
from pointsman.model.problem import Invalid
from pointsman.model.tunnel import State, Tunnel
from pointsman.node import applied, asks, proven, report
from pointsman.node import memory as memories
from pointsman.node.apply import Host
from pointsman.node.busy import Busy
from pointsman.node.config import Node
from pointsman.node.fleet import Fleet
from pointsman.node.names import Names
from pointsman.node.paths import Paths
from pointsman.node.prober import Prober, targets
from pointsman.node.prover import Look, Prover
from pointsman.node.provision import Provision
from pointsman.node.steering import Steering
from pointsman.node.trees import Trees, compile_trees
from pointsman.node.workshop import Workshop
from pointsman.system import dns
from pointsman.system.clock import boot_time
from pointsman.system.log import Log
from pointsman.tunnels.health import Pulse

EVERY = 1.0
WHILE_STARTING = 0.1


@dataclass(frozen=True, slots=True)
class Looked:
    """How often the agent has looked at everything, and the seconds that the last time took."""

    number: int = 0
    seconds: float = 0.0


class Agent:
    """Everything that one node runs. One turn at a time: whoever changes something holds the lock."""

    def __init__(
        self, node: Node, paths: Paths, host: Host, fleet: Fleet, source: applied.Source, trees: Trees, log: Log
    ) -> None:
        self.node = node
        self.paths = paths
        self.memory = memories.recall(paths.memory)
        self.warnings: list[str] = []
        self._host = host
        self._fleet = fleet
        self._source = source
        self._trees = trees
        self._log = log
        self._steering = Steering(node, paths, host, fleet, log, self._remember)
        self._prover = Prover(node, paths, host, log)
        self._names = Names(node.resolvers, paths.names, dns.ask, log, boot_time)
        self._lock = asyncio.Lock()
        self._next: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._stirred = asyncio.Event()
        self._prober = Prober(self._stirred.set, log)
        self._look_at = 0.0
        self._looked = Looked()
        workshop = Workshop(node.gateways, paths.made, fleet, self._settle_lanes, log)
        self.provision = Provision(workshop, node.bounds, log, self._settle_lanes, fleet.state, lambda: self.policy)
        self._desk = asks.Desk(paths.asked, node.proxy_uid, self.provision.answer)
        self._busy = Busy()
        self._undoing: list[asyncio.Task[dict[str, Any]]] = []
        self.settled = asyncio.Event()

    async def start(self) -> None:
        """Bring the host into the state that the policy asks for, closed at every moment on the way."""
        self._prover.skip()
        self.provision.restore()
        if self.node.gateways:
            await self._desk.keep()
        async with self._lock:
            if not self._host.adoptable():
                if not self.memory.observe:
                    await asyncio.to_thread(self._host.close)
                    self._log.event("the host is closed")
                await self._settle()
            else:
                self._log.event("adopting what an earlier agent left running")
            await self._turn()

    async def run(self) -> None:
        """Turn until told to end, and at once when a probe says that something has changed."""
        probing = asyncio.create_task(self._prober.run())
        while not self._ended.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stirred.wait(), self._pause)
            self._stirred.clear()
            async with self._lock:
                if not self._ended.is_set():  # it may have gone down while the lock was awaited
                    await self._turn()
            for task in (probing, *self._undoing):
                if task.done():
                    task.result()  # a bug in there is one everywhere, and ends the agent
            # every look at the kernel leaves cycles of garbage; piled up, they would hold up a change of policy
            gc.collect(1)
        probing.cancel()

    def stop(self) -> None:
        """End the loop. What runs goes on running."""
        self._ended.set()
        self._stirred.set()

    @property
    def ready(self) -> bool:
        """Return whether no tunnel of the pool is on its way up, and no name waits for its first answer."""
        coming = {entry.name for entry in self.node.entries if self._fleet.state(entry.name) is State.PROVISIONING}
        up = self._steering.plan is not None and not coming
        return up and self._names.ready

    async def apply_policy(self, text: bytes, name: str, folder: Path) -> dict[str, Any]:
        """Put another policy in force, or change nothing. Returns its name, version and the seconds it took."""
        begun = time.monotonic()
        source, policy = await asyncio.to_thread(applied.gather, text, name, folder, self._source.origin)
        trees = await asyncio.to_thread(compile_trees, policy, self.node)
        await self._names.learn(policy)
        async with self._lock:
            before, self._trees = self._trees, trees
            try:
                await self._settle()
            except (Fault, Invalid, ValueError):
                self._trees = before
                await self._settle()
                raise
            self._source = source
            await asyncio.to_thread(applied.keep, self.paths.policy, source)
        self._log.event("policy applied", policy=policy.name, version=policy.version[:12])
        return {"policy": policy.name, "version": policy.version, "seconds": round(time.monotonic() - begun, 3)}

    async def demand_confirm(self, seconds: float) -> None:
        """Undo everything unless it is confirmed within this time from now."""
        async with self._lock:
            if not self._ended.is_set():
                self._remember(replace(self.memory, confirm_by=boot_time() + seconds))

    async def confirm(self) -> dict[str, Any]:
        """Keep what would be undone; say whether anything would have been."""
        async with self._lock:
            pending = self.memory.confirm_by is not None
            self._remember(replace(self.memory, confirm_by=None))
        self._log.event("confirmed", pending=pending)
        return {"confirmed": pending}

    async def break_glass(self, seconds: int, reason: str) -> dict[str, Any]:
        """Open the host; the kernel closes it by itself, also when no agent is there."""
        if not 0 < seconds <= 24 * 3600:
            raise ValueError("between 1 second and 24 hours")
        if not reason.strip():
            raise ValueError("a reason is due")
        async with self._lock:
            self._remember(replace(self.memory, glass_until=boot_time() + seconds, glass_reason=reason))
            await self._settle()
        self._log.event("the glass is broken: the host is open", seconds=seconds, reason=reason)
        return {"until": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))}

    async def close_glass(self) -> dict[str, Any]:
        """Close the host again before its time."""
        async with self._lock:
            self._remember(replace(self.memory, glass_until=None))
            await self._settle()
        self._log.event("the glass is closed")
        return {"closed": True}

    async def go_down(self) -> dict[str, Any]:
        """Remove all that is ours, the guard last, and end."""
        async with self._lock:
            # gateways are told while the guard still lets us ask them
            faults = [*await self.provision.stop()]
            await asyncio.to_thread(self._host.close)
            await asyncio.to_thread(self._host.stop_proxy)
            faults += await self._fleet.stop()
            await asyncio.to_thread(self._host.remove)
            self.paths.memory.unlink(missing_ok=True)
            self._names.forget()
            self._steering.plan = None
            self.stop()
        self._log.event("down", faults=len(faults))
        return {"faults": [str(fault) for fault in faults]}

    def status(self) -> dict[str, Any]:
        """Return what is enforced now."""
        counters = self._host.counters()
        return report.status(
            self.node,
            self._trees.policy,
            self._steering.plan,
            self._steering.stuck,
            self._tunnels(),
            {s.name: self._fleet.handshake_age(s.name) for s in self._tunnels()},
            self._pulses,
            self.memory,
            self._prover.ledger.tally,
            counters,
            self._host.proxy_pid(),
            [*self.warnings, *self._stuck, *self._host.unqueued, *self._names.warnings(self.policy)],
            boot_time(),
        ) | {"names": self._names.told(self.policy), "turn": asdict(self._looked)}

    def metrics(self) -> bytes:
        """Return the counters in the Prometheus text format."""
        tally, counters = self._prover.ledger.tally, self._host.counters()
        proof = proven.metrics(tally, self._prover.standing, self._prover.balances)
        ages = self.provision.key_ages()
        return report.metrics(self._trees.policy, self._tunnels(), self._pulses, ages, tally, counters, proof)

    @property
    def policy(self) -> Policy:
        """Return the policy in force."""
        return self._trees.policy

    async def _turn(self) -> None:
        """Look, work out, act. What fails is logged once and tried again in the next turn.

        What the probes say comes before a look at everything, which takes its time.
        """
        now = time.monotonic()
        self._fleet.heed(self._prober.pulses, now)
        if self.node.gateways:
            self.provision.turn()
        if now < self._look_at and await self._settled():
            return
        self._look_at = now + self._pause
        await self._fleet.turn()
        try:
            self.provision.used(await asyncio.to_thread(self._busy.look, self._host, self._steering.lanes))
            if self.node.gateways:
                await self._desk.keep()
        except Fault as fault:
            self._log.fault(fault)
        await self._prove()
        try:
            await asyncio.to_thread(self._host.tend_proxy)
        except Fault as fault:
            self._log.fault(fault)
        await self._settled()
        self._looked = Looked(self._looked.number + 1, round(time.monotonic() - now, 3))
        if self.ready:
            self.settled.set()
        if self.memory.confirm_by is not None and boot_time() >= self.memory.confirm_by:
            self._log.event("not confirmed in time: undoing everything")
            self._undoing.append(asyncio.create_task(self.go_down()))
        if self.memory.glass_until is not None and boot_time() >= self.memory.glass_until:
            self._remember(replace(self.memory, glass_until=None))
            self._log.event("the glass is closed: its time is over")

    async def _settled(self) -> bool:
        try:
            await self._settle()
        except (Fault, Invalid) as failed:
            self._log.fault(_fault(failed))
            return False
        return True

    async def _settle_lanes(self) -> None:
        """Put new tunnels and lanes in force for requests that ask; the tree learns of them in the next turn.

        Who comes while another one waits for the lock shares what that one does.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._settle_next())
        await asyncio.shield(self._next)

    async def _settle_next(self) -> None:
        async with self._lock:
            self._next = None
            if self._ended.is_set():
                return
            try:
                await self._settle(lanes_only=True)
            except Invalid as invalid:
                raise _fault(invalid) from invalid

    async def _settle(self, lanes_only: bool = False) -> None:
        trees, holdings = self._names.placed(self._trees), self.provision.holdings
        tunnels = await self._steering.settle(trees, self.memory, holdings, self._pulses, self.ready, lanes_only)
        self._names.turn(trees.policy)
        self._prober.watch(targets(trees.policy, tunnels))

    async def _prove(self) -> None:
        """Hold what is there against what was put in place last, before that changes."""
        if self._steering.plan is None or self._steering.stuck:
            self._prover.blind("the host was not as it should be")
            return
        unheld = "observed only: nothing was held back" if self.memory.observe else ""
        unheld = unheld or ("the glass was broken" if self.memory.glass_until is not None else "")
        compiled = self._names.placed(self._trees).compiled
        look = Look(self._steering.plan, compiled, self._tunnels(), self._fleet.took(), unheld)
        try:
            await asyncio.to_thread(self._prover.turn, look)
        except Fault as fault:
            self._log.fault(fault)
            self._prover.blind(str(fault))

    @property
    def _pause(self) -> float:
        return EVERY if self.ready or self._steering.stuck else WHILE_STARTING

    @property
    def _stuck(self) -> list[str]:
        why = self._steering.stuck
        return [f"the last turn failed: {why}; what was put in place before goes on"] if why else []

    def _remember(self, memory: memories.Memory) -> None:
        if memory != self.memory:
            memories.keep(self.paths.memory, memory)
            self.memory = memory

    @property
    def _pulses(self) -> dict[str, Pulse]:
        return {name: pulse for name, (pulse, _) in self._prober.pulses.items()}

    def _tunnels(self) -> tuple[Tunnel, ...]:
        return self._fleet.tunnels({name: self.memory.tables.get(name, 0) for name in self._fleet.kinds})


def _fault(failed: Fault | Invalid) -> Fault:
    """Return as a fault that what there should be does not fit: a turn that asks for it is tried again."""
    if isinstance(failed, Fault):
        return failed
    return Fault(failed.problems[0].label, "work out what there should be", str(failed))
