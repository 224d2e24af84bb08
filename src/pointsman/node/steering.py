"""From what is known now to a plan in force: worked out only where something changed, put in place, and told."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from pointsman.dataplane.entries import both
from pointsman.dataplane.envoy import Settings
from pointsman.dataplane.resources import Resource
from pointsman.model.fault import Fault
from pointsman.model.problem import Invalid
from pointsman.model.routing import MAIN
from pointsman.model.tunnel import Kind, Lane, Tunnel
from pointsman.node import memory as memories
from pointsman.node.apply import Host
from pointsman.node.config import Node
from pointsman.node.fleet import Fleet
from pointsman.node.holdings import Holdings
from pointsman.node.memory import Memory
from pointsman.node.moving import Moving
from pointsman.node.paths import Paths
from pointsman.node.plan import Plan, make_plan
from pointsman.node.trees import Trees
from pointsman.system.clock import boot_time
from pointsman.system.log import Log
from pointsman.tunnels.health import Pulse


@dataclass(frozen=True, slots=True)
class Known:
    """What the agent knows when it settles. It is `ready` when no tunnel is still on its way up."""

    trees: Trees
    memory: Memory
    holdings: Holdings
    pulses: Mapping[str, Pulse]
    ready: bool


@dataclass(frozen=True, slots=True)
class Basis:
    """All that a plan hangs on: the same again is the same plan."""

    trees: Trees
    tunnels: tuple[Tunnel, ...]
    memory: Memory
    old: tuple[Lane, ...]
    holdings: Holdings
    rests: Mapping[str, frozenset[str]]


class Steering:
    """The plan in force, and the way from one to the next. `remember` keeps numbers before anything has them.

    `stuck` says why the way to the next one failed: the plan is still the one before, and the host may be between them.
    """

    def __init__(
        self, node: Node, paths: Paths, host: Host, fleet: Fleet, log: Log, remember: Callable[[Memory], None]
    ) -> None:
        self.plan: Plan | None = None
        self.stuck = ""
        self.lanes: tuple[Lane, ...] = ()
        self._node = node
        self._settings = settings(node, paths)
        self._host = host
        self._fleet = fleet
        self._log = log
        self._remember = remember
        self._moving: Moving | None = None
        self._basis: Basis | None = None

    async def settle(self, known: Known, lanes_only: bool = False) -> tuple[Tunnel, ...]:
        """Put in force what there is now; return the tunnels as they were seen. With `lanes_only` routes stay as is."""
        try:
            tunnels = await self._steer(known, lanes_only)
        except (Fault, Invalid) as failed:
            self.stuck = str(failed)
            raise
        self.stuck = ""
        return tunnels

    async def _steer(self, known: Known, lanes_only: bool) -> tuple[Tunnel, ...]:
        now, kinds = time.monotonic(), self._fleet.kinds
        policy, memory = known.trees.policy, known.memory
        if self._moving is None:
            self._moving = Moving(self._host, memory.stays, memory.draining, now)
            self.lanes = tuple(memory.draining)
        tables = memories.numbered(memory.tables, kinds, memories.TABLES)
        old = self._moving.old(self.lanes, now)
        tunnels = self._fleet.tunnels(
            {name: MAIN if kind is Kind.DIRECT else tables[name] for name, kind in kinds.items()}
        )
        lost = await self._moving.cut(tunnels, self.lanes)
        pooled = [tunnel for tunnel in tunnels if tunnel.name not in known.holdings.gateways]
        stays = self._moving.stands(policy, pooled, memory.leases, known.pulses, known.ready, now)
        # what drains comes with `old`; its ends are no part of a plan
        numbered = replace(memory, tables=tables, stays=stays, draining={})
        rests = self._moving.rests(policy, pooled, now)
        basis = Basis(known.trees, tunnels, numbered, old, known.holdings, rests)
        before, plan = self.plan, self.plan
        if plan is None or basis != self._basis:
            plan = await self._work_out(basis, plan.envoy.routes if lanes_only and plan is not None else None)
        # what is in force has its ports until the plan is, also where that fails
        entries = both(plan.memory.entries, memory.entries)
        self._remember(replace(plan.memory, entries=entries, draining=self._moving.draining))
        glass = max(0, int((plan.memory.glass_until or 0) - boot_time()))
        await asyncio.to_thread(self._host.apply, plan, glass)
        await asyncio.to_thread(self._host.cut, lost)  # and what came there since
        await self._moving.drain(before.first if before else frozenset(), plan, policy, pooled, now)
        self._remember(replace(plan.memory, draining=self._moving.draining))
        self._tell(before, plan)
        self.plan, self.lanes = plan, plan.lanes
        self._basis = None if lanes_only else replace(basis, memory=plan.memory)
        return tunnels

    async def _work_out(self, basis: Basis, routes: Resource | None) -> Plan:
        return await asyncio.to_thread(
            make_plan,
            self._node,
            basis.trees,
            basis.tunnels,
            basis.memory,
            self._settings,
            basis.old,
            basis.holdings,
            routes,
            basis.rests,
            await asyncio.to_thread(self._host.occupied),
        )

    def _tell(self, before: Plan | None, plan: Plan) -> None:
        were = _ways(before) if before else {}
        for name, on in _ways(plan).items():
            if were.get(name) != on:
                why = "" if on else str(plan.ways[name])
                self._log.event("profile moved", profile=name, tunnel=", ".join(on) or "none", why=why)


def _ways(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Return by profile its tunnel, or those that share its connections, none where it has none."""
    alone = {name: (way.tunnel,) if isinstance(way, Lane) else () for name, way in plan.ways.items()}
    return alone | {name: tuple(lane.tunnel for lane, _ in parts) for name, parts in plan.shares.items()}


def settings(node: Node, paths: Paths) -> Settings:
    """Return what the proxy's files need to know of this node."""
    return Settings(
        folder=str(paths.envoy),
        state=str(paths.proxy),
        access_log=str(paths.records),
        node=node.name,
        asked=str(paths.asked) if node.gateways else "",
    )
