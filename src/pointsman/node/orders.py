"""What an operator can order of a running agent, and what becomes due by such an order."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from pointsman.model.fault import Fault
from pointsman.model.problem import Invalid
from pointsman.node import applied, coverage
from pointsman.node.force import Force
from pointsman.node.trees import compile_trees
from pointsman.system.clock import boot_time
from pointsman.system.log import Log


class Orders:
    """Each order holds the lock while it changes what is in force."""

    def __init__(self, force: Force, log: Log) -> None:
        self._force = force
        self._log = log
        self._undoing: list[asyncio.Task[dict[str, Any]]] = []

    async def apply_policy(self, text: bytes, name: str, folder: Path) -> dict[str, Any]:
        """Put another policy in force, or change nothing. Returns its name, version and the seconds it took."""
        begun = time.monotonic()
        source, policy = await asyncio.to_thread(applied.gather, text, name, folder, self._force.source.origin)
        trees = await asyncio.to_thread(compile_trees, policy, self._force.node)
        await self._force.names.learn(policy)
        async with self._force.lock:
            before, self._force.trees = self._force.trees, trees
            try:
                await self._force.settle()
            except (Fault, Invalid, ValueError):
                self._force.trees = before
                await self._force.settle()
                raise
            self._force.source = source
            await asyncio.to_thread(applied.keep, self._force.paths.policy, source)
        seconds = round(time.monotonic() - begun, 3)
        self._log.event("policy applied", policy=policy.name, version=policy.version[:12])
        supplies = self._force.fleet.supplies
        coverage.tell(self._log, await asyncio.to_thread(coverage.uncovered, policy, supplies, lambda: trees.compiled))
        return {"policy": policy.name, "version": policy.version, "seconds": seconds}

    async def demand_confirm(self, seconds: float) -> None:
        """Undo everything unless it is confirmed within this time from now."""
        async with self._force.lock:
            if not self._force.ended.is_set():
                self._force.remember(replace(self._force.memory, confirm_by=boot_time() + seconds))

    async def confirm(self) -> dict[str, Any]:
        """Keep what would be undone; say whether anything would have been."""
        async with self._force.lock:
            pending = self._force.memory.confirm_by is not None
            self._force.remember(replace(self._force.memory, confirm_by=None))
        self._log.event("confirmed", pending=pending)
        return {"confirmed": pending}

    async def break_glass(self, seconds: int, reason: str) -> dict[str, Any]:
        """Open the host; the kernel closes it by itself, also when no agent is there."""
        if not 0 < seconds <= 24 * 3600:
            raise ValueError("between 1 second and 24 hours")
        if not reason.strip():
            raise ValueError("a reason is due")
        async with self._force.lock:
            before = self._force.memory
            self._force.remember(replace(before, glass_until=boot_time() + seconds, glass_reason=reason))
            try:
                await self._open(seconds)
            except (Fault, Invalid):
                self._force.remember(before)
                raise
        self._log.event("the glass is broken: the host is open", seconds=seconds, reason=reason)
        return {"until": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))}

    async def _open(self, seconds: int) -> None:
        """Open the host, for 0 close it; where nothing new can be worked out, by what is in force already."""
        plan = self._force.steering.plan
        try:
            await self._force.settle()
        except (Fault, Invalid):
            if plan is None:
                raise
            await asyncio.to_thread(self._force.host.apply, plan, seconds)

    async def close_glass(self) -> dict[str, Any]:
        """Close the host again before its time."""
        async with self._force.lock:
            self._force.remember(replace(self._force.memory, glass_until=None))
            await self._open(0)
        self._log.event("the glass is closed")
        return {"closed": True}

    async def go_down(self) -> dict[str, Any]:
        """Remove all that is ours, the guard last, and end."""
        async with self._force.lock:
            # gateways are told while the guard still lets us ask them
            faults = [*await self._force.provision.stop()]
            await asyncio.to_thread(self._force.host.close)
            await asyncio.to_thread(self._force.host.stop_proxy)
            faults += await self._force.fleet.stop()
            await asyncio.to_thread(self._force.host.remove)
            self._force.paths.memory.unlink(missing_ok=True)
            self._force.names.forget()
            self._force.steering.plan = None
            self._force.stop()
        self._log.event("down", faults=len(faults))
        return {"faults": [str(fault) for fault in faults]}

    def due(self) -> None:
        """Undo what was not confirmed in time, and note that the kernel has closed the glass."""
        memory, now = self._force.memory, boot_time()
        if memory.confirm_by is not None and now >= memory.confirm_by:
            self._log.event("not confirmed in time: undoing everything")
            self._undoing.append(asyncio.create_task(self.go_down()))
        if memory.glass_until is not None and now >= memory.glass_until:
            self._force.remember(replace(memory, glass_until=None))
            self._log.event("the glass is closed: its time is over")

    def reap(self) -> None:
        """Raise what went wrong in the background: a bug there is one everywhere, and ends the agent."""
        for task in self._undoing:
            if task.done():
                task.result()
