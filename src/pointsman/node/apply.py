"""The steps from one plan to the next, in an order that at no moment lets out more than the two allow."""

import os
from collections.abc import Iterable
from dataclasses import replace

from pointsman.dataplane.capture import UNCAPTURED
from pointsman.dataplane.entries import class_of, is_entry
from pointsman.dataplane.guard import FRAMES, TABLE, GuardSpec, guard_text, removal_text
from pointsman.dataplane.nftables import lane_counter
from pointsman.dataplane.queues import queue_steps
from pointsman.dataplane.resources import EnvoyFiles
from pointsman.dataplane.routing import routing_steps
from pointsman.model.connection import Connection
from pointsman.model.fault import Fault
from pointsman.model.queues import Queues
from pointsman.model.routing import MASK, Drop, Put, Routing
from pointsman.model.tunnel import Lane
from pointsman.node.config import Node
from pointsman.node.guards import closed_guard
from pointsman.node.paths import Paths
from pointsman.node.plan import Plan
from pointsman.system import connections, envoy, netlink, nft, processes
from pointsman.system.queues import apply_queues, observe_queues

TABLES = (("inet", TABLE), ("netdev", FRAMES))


class Host:
    """This host as the agent changes it: guard, routing and proxy. Remembers only what it put there last."""

    def __init__(self, node: Node, paths: Paths) -> None:
        self._node = node
        workers = node.workers or min(4, os.cpu_count() or 1)
        self._place = envoy.Place(paths.envoy, paths.proxy, node.proxy_uid, workers)
        self._proxy = envoy.adopt(self._place)
        self._guard: tuple[GuardSpec, bool] | None = None
        self._rules = ""
        self._files: EnvoyFiles | None = None
        self._queued = True  # an earlier agent may have left some
        self.unqueued: tuple[str, ...] = ()
        self._stands: tuple[Routing, GuardSpec, bool] | None = None
        self._cut_off: list[Connection] = []
        self._counted: dict[Lane, tuple[int, int] | None] = {}

    def adoptable(self) -> bool:
        """Return whether an earlier agent's proxy and guard are there to go on with."""
        return self._proxy is not None and set(TABLES) <= set(nft.list_tables())

    def close(self) -> None:
        """Put the closed guard in place."""
        self._put_guard(closed_guard(self._node), 0)

    def apply(self, plan: Plan, glass: int) -> None:
        """Make the host what the plan says. `glass` is for how many seconds more the host is to be open.

        Ways and the guard's openings come before those who use them, and go after. Where neither changes, the proxy
        comes first: whether somebody meddled with the guard is looked at then.
        """
        if self._stands == (plan.routing, plan.guard, glass > 0):
            self._publish(plan.envoy)
        steps = routing_steps(plan.routing, netlink.observe_routing())
        netlink.apply_routing(step for step in steps if isinstance(step, Put))
        self._queue(plan.queues)
        opened = self._opened(plan.guard)
        self._put_guard(opened, glass)
        self._publish(plan.envoy)
        if opened != plan.guard:
            self._put_guard(plan.guard, glass)
        netlink.apply_routing(step for step in steps if isinstance(step, Drop))
        self._stands = (plan.routing, plan.guard, glass > 0)

    def cut(self, lanes: Iterable[Lane]) -> None:
        """End what is under way on these lanes of lost tunnels: it would wait for answers that cannot come.

        A lane that goes on from another address keeps its mark, and tunnels may have equal addresses: both count.
        """
        lost = {(lane.mark, source) for lane in lanes for source in lane.sources}
        if lost:
            ended = [one for one in connections.standing() if (one.mark & MASK, one.local) in lost]
            connections.reset(ended)
            self._cut_off += ended

    def cut_off(self) -> list[Connection]:
        """Return what was cut since this was asked last, as it stood."""
        told, self._cut_off = self._cut_off, []
        return told

    def end(self, lanes: Iterable[Lane]) -> None:
        """End what is under way on these lanes."""
        marks = {lane.mark for lane in lanes}
        if marks:
            connections.reset(one for one in connections.standing() if one.mark & MASK in marks)

    def idle(self, lanes: Iterable[Lane]) -> set[Lane]:
        """Return those of these lanes that no connection is on."""
        asked = set(lanes)
        busy = {one.mark & MASK for one in connections.standing()} if asked else set()
        return {lane for lane in asked if lane.mark not in busy}

    def occupied(self) -> frozenset[int]:
        """Return the classes of the proxy's local ports that somebody is connected to."""
        mine = (self._node.proxy_uid, 0)  # what the proxy has not accepted yet has no owner
        ends = (one.local_port for one in connections.standing() if one.uid in mine and is_entry(one.local_port))
        return frozenset(map(class_of, ends))

    def tend_proxy(self) -> bool:
        """Start the proxy again if it has ended; return whether that was so."""
        if self._files is None or (self._proxy is not None and processes.alive(self._proxy)):
            return False
        self._proxy = envoy.start(self._place)
        envoy.wait_ready(self._place, self._proxy)
        return True

    def stop_proxy(self) -> None:
        """End the proxy."""
        if self._proxy is not None and not processes.end(self._proxy):
            raise Fault("envoy-stays", f"end the proxy, process {self._proxy.pid}", "it does not end")
        self._proxy = None

    def remove(self) -> None:
        """Remove queues, routes and rules of ours, and then the guard."""
        apply_queues(queue_steps(frozenset(), observe_queues()))
        netlink.apply_routing(routing_steps(Routing(), netlink.observe_routing()))
        nft.apply_rules(removal_text())
        self._guard, self._files, self._stands = None, None, None
        self._queued = True

    def proxy_pid(self) -> int | None:
        """Return the process id of the proxy, None where none runs."""
        return self._proxy.pid if self._proxy is not None and processes.alive(self._proxy) else None

    def counters(self) -> dict[str, tuple[int, int]]:
        """Return packets and bytes by the name of the guard's counter."""
        return dict(nft.read_counters(*TABLES))

    def counted(self) -> dict[Lane, tuple[int, int] | None]:
        """Return packets and bytes that went out by lanes that are gone since this was asked last; None if unknown."""
        told, self._counted = self._counted, {}
        return told

    def reopen_records(self) -> None:
        """Tell the proxy that its log files were moved aside."""
        self._place.admin.reopen_logs()

    def _queue(self, queues: Queues) -> None:
        """Make the queues what the plan says. What cannot be is told: queues decide nothing about what leaves."""
        if queues or self._queued:
            found = apply_queues(queue_steps(queues, observe_queues()))
            self.unqueued = tuple(sorted(map(str, found)))
            self._queued = bool(queues)

    def _opened(self, wanted: GuardSpec) -> GuardSpec:
        """Return the guard with all openings that still captures as before: entries are captured once they listen."""
        if self._guard is None and self.proxy_pid() is not None:
            return wanted
        return replace(wanted, capture=self._guard[0].capture if self._guard else UNCAPTURED)

    def _put_guard(self, spec: GuardSpec, glass: int) -> None:
        # the kernel refuses a chain on a device that is not there
        present = {link.name for link in netlink.observe_links()}
        spec = replace(spec, framed=tuple(name for name in spec.framed if name in present))
        wanted = (spec, glass > 0)
        if wanted == self._guard and nft.list_rules(*TABLES) == self._rules:
            return
        counters = nft.read_counters(*TABLES)
        nft.apply_rules(guard_text(replace(spec, glass=glass), counters))
        gone = set(self._guard[0].lanes) - set(spec.lanes) if self._guard else set()
        self._counted |= {lane: counters.get(lane_counter(lane)) for lane in gone}
        self._guard, self._rules = wanted, nft.list_rules(*TABLES)

    def _publish(self, files: EnvoyFiles) -> None:
        if files == self._files and self.proxy_pid() is not None:
            return
        envoy.prepare(self._place)
        if self.proxy_pid() is None:
            envoy.write(self._place, files.named())
            self._proxy = envoy.start(self._place)
            envoy.wait_ready(self._place, self._proxy)
        else:
            envoy.publish(self._place, files.named(), files.versions())
        self._files = files
