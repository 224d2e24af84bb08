"""Proves, turn by turn, that what left went the decided way; ends what did not, and writes down the evidence."""

import copy
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from pointsman.dataplane.entries import is_entry, user_classes
from pointsman.model.connection import Connection
from pointsman.model.fault import Fault
from pointsman.model.tunnel import Lane, Tunnel
from pointsman.node import balance, evidence
from pointsman.node.apply import Host
from pointsman.node.config import Node
from pointsman.node.lanes import SHIFT
from pointsman.node.ledger import Ledger
from pointsman.node.narrowing import Narrowing
from pointsman.node.paths import Paths
from pointsman.node.placing import Placing
from pointsman.node.plan import Plan
from pointsman.node.proof import Finding, Old, Reason, Right, Wrong, carrying, detour, escape, escaped, judge
from pointsman.node.records import Decided, Pair, decided
from pointsman.node.sockets import Sockets
from pointsman.policy.diagram import Compiled
from pointsman.system import connections, devices, netlink
from pointsman.system.log import Log

EVERY = 5.0  # seconds that one line of evidence covers
# Seconds after lanes changed in which the last words of their sockets are held, and mean nothing
FAREWELL = 10.0
MOST_ROUTES = 128  # that are asked for in one interval


@dataclass(frozen=True, slots=True)
class Look:
    """What one turn is held against. `took` is what each tunnel says it has sent, in bytes.

    `named` are the users that rules name. `open` says why nothing is held back now, and so nothing proven, or is empty.
    """

    plan: Plan
    compiled: Compiled
    tunnels: tuple[Tunnel, ...]
    took: Mapping[str, int]
    named: tuple[int, ...] = ()
    open: str = ""


class Prover:
    """What was proven since this agent started. Its turns wait for the kernel."""

    def __init__(self, node: Node, paths: Paths, host: Host, log: Log) -> None:
        self.ledger = Ledger(paths)
        self.narrowing = Narrowing(log, self.ledger.tally)
        self.placing = Placing(log)
        self.standing: Counter[str] = Counter()
        self.balances: tuple[balance.Balance, ...] = ()
        self._node, self._file, self._host, self._log = node, paths.evidence, host, log
        self._lanes: tuple[Lane, ...] = ()
        self._lanes_before: tuple[Lane, ...] = ()
        self._lanes_changed = time.monotonic()
        self._carried: dict[Pair, frozenset[str]] = {}
        self._suspects: frozenset[bytes] = frozenset()
        self._doors: set[int] = set()
        self._packets: list[tuple[Lane, str]] = []
        self._base: balance.Reading | None = None
        self._reading: balance.Reading | None = None
        self._since = time.time()
        self._then = copy.deepcopy(self.ledger.tally)
        self._findings: list[Finding] = []
        self._unknown: dict[str, None] = {}

    def skip(self) -> None:
        """Begin now: what an earlier agent has left is not ours to prove."""
        self.ledger.skip()
        self._since = time.time()

    def turn(self, look: Look) -> None:
        """Look at sockets, records and counters, end what went wrong, and note it."""
        found = connections.standing()
        sockets = Sockets(found, self._learn_doors(found, look.plan))
        known = self._look_at_sockets(found, sockets, look)
        self._note(self.ledger.read(known, time.monotonic(), self._host.reopen_records))
        if look.open:
            self.blind(look.open)
        else:
            connections.reset(self.narrowing.due(self.ledger.running, look.compiled, sockets.of))
        classes = user_classes(look.plan.memory.entries)
        connections.reset(self.placing.misplaced(sockets.taken_in, classes, look.named, sockets))
        self._weigh(look)

    def blind(self, why: str) -> None:
        """Note that for this time nothing can be proven."""
        self._unknown[why] = None

    def _look_at_sockets(self, found: tuple[Connection, ...], sockets: Sockets, look: Look) -> Decided:
        # what was cut with its tunnel is held against the lanes of then: was it bound to that tunnel at all?
        cut, lanes = self._host.cut_off(), self._lanes
        self._learn_lanes(look.plan)
        if look.open:
            self.standing, self._carried, self._packets = Counter(), {}, []
            return decided(self._lanes, {})
        old = [number << SHIFT for number in look.plan.memory.lanes.values()]
        judged = judge(self._ours(found), look.plan.lanes, old)
        self._note(one.finding for one in judge(self._ours(cut), lanes, old) if isinstance(one, Wrong))
        wrong = [one for one in judged if isinstance(one, Wrong)]
        gone = [one.connection for one in judged if isinstance(one, Old)]
        connections.reset([*(one.connection for one in wrong), *gone])
        self._note(one.finding for one in wrong)
        away = self._escaped(found, sockets, look.plan)
        connections.reset(away)
        self._note(map(escape, away))
        right = [one for one in judged if isinstance(one, Right)]
        self.standing = Counter(one.lane for one in right)
        self._packets = carrying(right, look.plan.lanes)[:MOST_ROUTES]
        now = {one.connection.points: frozenset({one.lane}) for one in right}
        now |= {one.connection.points: frozenset() for one in wrong}
        # a request that ended since the turn before may have had a socket that is gone by now
        carried = {
            pair: now.get(pair, frozenset()) | self._carried.get(pair, frozenset()) for pair in now | self._carried
        }
        self._carried = now
        return decided((*self._lanes, *self._lanes_before), carried)

    def _learn_doors(self, found: Iterable[Connection], plan: Plan) -> set[int]:
        """Return the entries, and those that are no more by which something goes on: of the proxy's, or nobody's yet.

        An old one is free for anybody to listen at, and what comes in there is not captured.
        """
        proxy, old = self._node.proxy_uid, self._doors
        ends = (one for one in found if (one.uid == proxy and is_entry(one.local_port)) or one.local_port in old)
        self._doors = {*plan.guard.capture.entries}
        self._doors |= {one.local_port for one in ends if one.uid in (proxy, 0) and not one.leaves}
        return self._doors

    def _ours(self, found: Iterable[Connection]) -> list[Connection]:
        return [one for one in found if one.leaves and one.uid == self._node.proxy_uid]

    def _learn_lanes(self, plan: Plan) -> None:
        if plan.lanes != self._lanes:
            self._lanes_before, self._lanes = self._lanes, plan.lanes
            self._lanes_changed = time.monotonic()

    def _escaped(self, found: tuple[Connection, ...], sockets: Sockets, plan: Plan) -> list[Connection]:
        """Return what escaped and was seen the turn before, too: the socket table is not read at one instant."""
        node = self._node
        freed = {node.proxy_uid, node.tunnel_uid, *node.exempt_uids}
        places = (*plan.guard.resolvers, *plan.guard.gateways)
        seen = escaped(found, self._doors, freed, node.inbound, places)
        here = {address for link in netlink.observe_links() for address in link.addresses} if seen else ()
        again = [one for one in seen if one.handle in self._suspects and one.remote not in here]
        self._suspects = frozenset(one.handle for one in seen)
        try:
            return [one for one in again if not sockets.captured(one)]
        except Fault as fault:  # whatever it is, nobody can say that it is captured
            self.blind(str(fault))
            return again

    def _weigh(self, look: Look) -> None:
        """Hold the guard's counters against the tunnels' own: what they took is told one turn after the guard."""
        if self._base is None or self._reading is None:
            if self._base is None:
                self._base = self._read(look)
            elif time.time() - self._since >= EVERY:
                self._reading = self._read(look)
            return
        self.balances = balance.balance(self._base, self._reading, look.took)
        self._note(one.finding for one in self.balances if one.finding)
        held = balance.drops(self._base.guard, self._reading.guard)
        if "dropped_proxy" in held and time.monotonic() - self._lanes_changed > FAREWELL + EVERY:
            what = f"{held['dropped_proxy']} packets of the proxy without them, which were dropped"
            self._note([Finding(Reason.HELD, "mark and device of a lane", what)])
        ways = netlink.ways_of(((lane.mark, remote) for lane, remote in self._packets), self._node.proxy_uid)
        detours = (detour(*packet, way) for packet, way in zip(self._packets, ways, strict=True))
        self._note(one for one in detours if one)
        self._base, self._reading = self._reading, None
        self._write(look.compiled.policy.version, held)

    def _read(self, look: Look) -> balance.Reading:
        early = devices.sent_bytes()
        guard, gone = self._host.counters(), self._host.counted()
        return balance.Reading(look.tunnels, look.plan.lanes, guard, look.took, early, devices.sent_bytes(), gone)

    def _write(self, policy: str, held: Mapping[str, int]) -> None:
        until, now = time.time(), copy.deepcopy(self.ledger.tally)
        line = evidence.interval(
            self._since,
            until,
            policy,
            (self._then, now),
            self.standing,
            self.balances,
            held,
            self._findings,
            self._unknown,
            len(self.ledger.running),
        )
        evidence.keep(self._file, line)
        self._since, self._then, self._findings, self._unknown = until, now, [], {}

    def _note(self, findings: Iterable[Finding]) -> None:
        for one in findings:
            self.ledger.tally.misrouted[one.reason] += 1
            if len(self._findings) < evidence.MOST:
                self._findings.append(one)
                self._log.event("something went another way than decided", **asdict(one))
