"""What is in force on this node, and the only way to change it: one at a time, by whoever holds the lock."""

import asyncio

from pointsman.model.fault import Fault
from pointsman.model.policy import Policy
from pointsman.model.problem import Invalid
from pointsman.model.tunnel import State, Tunnel
from pointsman.node import applied, spoken
from pointsman.node import memory as memories
from pointsman.node.apply import Host
from pointsman.node.config import Node
from pointsman.node.fleet import Fleet
from pointsman.node.names import Names
from pointsman.node.paths import Paths
from pointsman.node.prober import Prober, targets
from pointsman.node.provision import Provision
from pointsman.node.steering import Known, Steering
from pointsman.node.trees import Trees
from pointsman.node.workshop import Workshop
from pointsman.system import dns
from pointsman.system.clock import boot_time
from pointsman.system.log import Log
from pointsman.tunnels.health import Pulse


class Force:
    """Policy, tunnels and memory of one node, and the plan made of them. Whoever changes something holds `lock`."""

    def __init__(
        self,
        node: Node,
        paths: Paths,
        host: Host,
        fleet: Fleet,
        source: applied.Source,
        trees: Trees,
        log: Log,
        spoken_for: frozenset[str],
    ) -> None:
        """`spoken_for` are addresses that no gateway may give a tunnel."""
        self.node, self.paths, self.host, self.fleet = node, paths, host, fleet
        self.source, self.trees = source, trees
        self.memory = memories.recall(paths.memory)
        self.log = log
        self.lock = asyncio.Lock()
        self.ended = asyncio.Event()
        self.stirred = asyncio.Event()
        self.steering = Steering(node, paths, host, fleet, log, self.remember)
        self.names = Names(node.resolvers, paths.names, dns.ask, log, boot_time)
        self.prober = Prober(self.stirred.set, log)
        self._spoken_for = spoken_for
        workshop = Workshop(node.gateways, paths.made, fleet, self.settle_lanes, log, self._all_spoken_for)
        self.provision = Provision(
            workshop, node.bounds, log, self.settle_lanes, fleet.state, lambda: self.policy, self._in_force
        )
        self._next: asyncio.Task[None] | None = None

    @property
    def policy(self) -> Policy:
        """Return the policy in force."""
        return self.trees.policy

    @property
    def ready(self) -> bool:
        """Return whether no tunnel of the pool is on its way up, and no name waits for its first answer."""
        coming = {entry.name for entry in self.node.entries if self.fleet.state(entry.name) is State.PROVISIONING}
        up = self.steering.plan is not None and not coming
        return up and self.names.ready

    @property
    def pulses(self) -> dict[str, Pulse]:
        """Return what the probes say of each tunnel."""
        return {name: pulse for name, (pulse, _) in self.prober.pulses.items()}

    @property
    def tunnels(self) -> tuple[Tunnel, ...]:
        """Return all tunnels as last seen."""
        return self.fleet.tunnels({name: self.memory.tables.get(name, 0) for name in self.fleet.kinds})

    async def settle(self, lanes_only: bool = False) -> None:
        """Put in force what there is now. The caller holds the lock. With `lanes_only` routes stay as they are."""
        trees = self.names.placed(self.trees)
        known = Known(trees, self.memory, self.provision.holdings, self.pulses, self.ready)
        tunnels = await self.steering.settle(known, lanes_only)
        self.names.turn(trees.policy)
        self.prober.watch(targets(trees.policy, tunnels), {tunnel.name for tunnel in tunnels})

    async def settled(self) -> bool:
        """Do so, and return whether it worked. What fails is logged once."""
        try:
            await self.settle()
        except (Fault, Invalid) as failed:
            self.log.fault(_fault(failed))
            return False
        return True

    async def settle_lanes(self) -> None:
        """Put new tunnels and lanes in force for requests that ask; the tree learns of them in the next turn.

        Who comes while another one waits for the lock shares what that one does.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._settle_next())
        await asyncio.shield(self._next)

    def remember(self, memory: memories.Memory) -> None:
        """Keep what must outlive the agent."""
        if memory != self.memory:
            memories.keep(self.paths.memory, memory)
            self.memory = memory

    def stop(self) -> None:
        """Have the agent end. What runs goes on running."""
        self.ended.set()
        self.stirred.set()

    def _in_force(self, lane: str) -> bool:
        return any(one.cluster == lane for one in self.steering.lanes)

    def _all_spoken_for(self) -> frozenset[str]:
        return self._spoken_for | spoken.by_policy(self.names.known(self.policy))

    async def _settle_next(self) -> None:
        async with self.lock:
            self._next = None
            if self.ended.is_set():
                return
            try:
                await self.settle(lanes_only=True)
            except Invalid as invalid:
                raise _fault(invalid) from invalid


def _fault(failed: Fault | Invalid) -> Fault:
    """Return as a fault that what there should be does not fit: a turn that asks for it is tried again."""
    if isinstance(failed, Fault):
        return failed
    return Fault(failed.problems[0].label, "work out what there should be", str(failed))
