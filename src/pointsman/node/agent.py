"""The agent: one loop that looks at what is there, works out what should be, and takes the steps between.

Whatever happens to it, the kernel and the proxy go on as they were told last. A new agent adopts them.
"""

import asyncio
import gc
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from pointsman.model.fault import Fault
from pointsman.node import asks, proven, report
from pointsman.node.busy import Busy
from pointsman.node.force import Force
from pointsman.node.orders import Orders
from pointsman.node.prover import Look, Prover
from pointsman.system.clock import boot_time
from pointsman.system.log import Log

EVERY = 1.0
WHILE_STARTING = 0.1


@dataclass(frozen=True, slots=True)
class Looked:
    """How often the agent has looked at everything, and the seconds that the last time took."""

    number: int = 0
    seconds: float = 0.0


class Agent:
    """The loop of one node, and what it tells of itself. Its orders come in between two turns."""

    def __init__(self, force: Force, log: Log) -> None:
        node, paths = force.node, force.paths
        self.orders = Orders(force, log)
        self.warnings: list[str] = []
        self.settled = asyncio.Event()
        self._force = force
        self._log = log
        self._prover = Prover(node, paths, force.host, log)
        self._desk = asks.Desk(paths.asked, node.proxy_uid, force.provision.answer)
        self._busy = Busy()
        self._look_at = 0.0
        self._looked = Looked()

    async def start(self) -> None:
        """Bring the host into the state that the policy asks for, closed at every moment on the way."""
        self._prover.skip()
        self._force.provision.restore()
        if self._force.node.gateways:
            await self._desk.keep()
        async with self._force.lock:
            if not self._force.host.adoptable():
                if not self._force.memory.observe:
                    await asyncio.to_thread(self._force.host.close)
                    self._log.event("the host is closed")
                await self._force.settle()
            else:
                self._log.event("adopting what an earlier agent left running")
            for fault in await self._force.fleet.sweep():
                self._log.fault(fault)
            await self._turn()

    async def run(self) -> None:
        """Turn until told to end, and at once when a probe says that something has changed."""
        probing = asyncio.create_task(self._force.prober.run())
        while not self._force.ended.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._force.stirred.wait(), self._pause)
            self._force.stirred.clear()
            async with self._force.lock:
                if not self._force.ended.is_set():  # it may have gone down while the lock was awaited
                    await self._turn()
            self.orders.reap()
            if probing.done():
                probing.result()  # a bug in there is one everywhere, and ends the agent
            # every look at the kernel leaves cycles of garbage; piled up, they would hold up a change of policy
            gc.collect(1)
        probing.cancel()

    def status(self) -> dict[str, Any]:
        """Return what is enforced now."""
        counters = self._force.host.counters()
        return report.status(
            self._force.node,
            self._force.policy,
            self._force.steering.plan,
            self._force.steering.stuck,
            self._force.tunnels,
            {s.name: self._force.fleet.handshake_age(s.name) for s in self._force.tunnels},
            self._force.pulses,
            self._force.memory,
            self._prover.ledger.tally,
            counters,
            self._force.host.proxy_pid(),
            [*self.warnings, *self._stuck, *self._force.host.unqueued, *self._force.names.warnings(self._force.policy)],
            boot_time(),
        ) | {"names": self._force.names.told(self._force.policy), "turn": asdict(self._looked)}

    def metrics(self) -> bytes:
        """Return the counters in the Prometheus text format."""
        tally, counters = self._prover.ledger.tally, self._force.host.counters()
        proof = proven.metrics(tally, self._prover.standing, self._prover.balances)
        ages = self._force.provision.key_ages()
        return report.metrics(self._force.policy, self._force.tunnels, self._force.pulses, ages, tally, counters, proof)

    async def _turn(self) -> None:
        """Look, work out, act. What fails is logged once and tried again in the next turn.

        What the probes say comes before a look at everything, which takes its time.
        """
        now = time.monotonic()
        self._force.fleet.heed(self._force.prober.pulses, now)
        self._force.provision.turn()
        if now < self._look_at and await self._force.settled():
            return
        self._look_at = now + self._pause
        await self._force.fleet.turn()
        try:
            lanes = self._force.steering.lanes
            self._force.provision.used(await asyncio.to_thread(self._busy.look, self._force.host, lanes))
            if self._force.node.gateways:
                await self._desk.keep()
        except Fault as fault:
            self._log.fault(fault)
        await self._prove()
        self._force.fleet.weigh(self._prover.ledger.outcomes.attempts, time.monotonic())
        try:
            await asyncio.to_thread(self._force.host.tend_proxy)
        except Fault as fault:
            self._log.fault(fault)
        await self._force.settled()
        self._looked = Looked(self._looked.number + 1, round(time.monotonic() - now, 3))
        if self._force.ready:
            self.settled.set()
        self.orders.due()

    async def _prove(self) -> None:
        """Hold what is there against what was put in place last, before that changes."""
        if self._force.steering.plan is None or self._force.steering.stuck:
            self._prover.blind("the host was not as it should be")
            return
        unheld = "observed only: nothing was held back" if self._force.memory.observe else ""
        unheld = unheld or ("the glass was broken" if self._force.memory.glass_until is not None else "")
        trees, took = self._force.names.placed(self._force.trees), self._force.fleet.took()
        look = Look(self._force.steering.plan, trees.compiled, self._force.tunnels, took, trees.uids, unheld)
        try:
            await asyncio.to_thread(self._prover.turn, look)
        except Fault as fault:
            self._log.fault(fault)
            self._prover.blind(str(fault))

    @property
    def _pause(self) -> float:
        return EVERY if self._force.ready or self._force.steering.stuck else WHILE_STARTING

    @property
    def _stuck(self) -> list[str]:
        why = self._force.steering.stuck
        return [f"the last turn failed: {why}; what was put in place before goes on"] if why else []
