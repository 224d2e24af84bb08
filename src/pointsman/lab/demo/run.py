"""The order of the demo: a lab, an agent, calls, a burst, attempts to get out, and a gateway that dies.

Each call is judged before it is made, by the policy file and the tunnels that the agent names; then it is looked up
in the origin's own record. All that must not be read on the wire carries the witness's canary.
"""

import secrets
import signal
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pointsman.lab import clients, instance, life, watch, world
from pointsman.lab.demo import script
from pointsman.lab.demo.callers import Callers, callers
from pointsman.lab.demo.judge import OK, Decided, Observed, decided, differences, too_many
from pointsman.lab.demo.script import USERS, By, Call
from pointsman.lab.exec import end_processes
from pointsman.lab.names import Lab
from pointsman.policy.diagram import Compiled, compile_policy
from pointsman.policy.load import load_policy

LIMITED = 429
BEYOND = 6


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what was asked, what was decided, what was seen, and in what these differ."""

    call: Call
    decided: Decided
    observed: Observed
    answer: str
    differs: tuple[str, ...]


class Telling(Protocol):
    """Where the demo tells what happens, as it happens."""

    def stage(self, title: str) -> None:
        """Begin something."""

    def note(self, text: str) -> None:
        """Tell something beside the rows."""

    def profiles(self, found: list[dict[str, object]]) -> None:
        """Tell which tunnel each profile has."""

    def row(self, row: Row) -> None:
        """Tell what came of a call."""


@dataclass(slots=True)
class Outcome:
    """All that was seen. `wrong` lists everything that should not have been, in words.

    The controls are how many of the sniffer's test frames came through without and with the guard.
    """

    rows: list[Row] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    open_controls: int = 0
    held_controls: int = 0
    frames: int = 0
    canaries: int = 0
    seconds: float = 0.0


def run(lab: Lab, policy: Path, tell: Telling, keep: bool = False, judged_by: Path | None = None) -> Outcome:
    """Bring a lab up, run the demo in it, and take it down again, also when interrupted; `keep` leaves it standing.

    What is expected is read from `judged_by`, where given, instead of from the policy in force.
    """
    begun = time.monotonic()
    outcome = Outcome()
    life.up(lab, policy)
    try:
        tell.stage(f"a lab of network namespaces: instance, three gateways, origin ({time.monotonic() - begun:.1f} s)")
        with watch.witness(lab) as witness:
            _in_lab(lab, witness, tell, outcome, judged_by or lab.node / "policy.yaml")
        outcome.seconds = time.monotonic() - begun
    except BaseException:
        _down(lab)
        raise
    if not keep:
        _down(lab)
    return outcome


def _in_lab(lab: Lab, witness: watch.Witness, tell: Telling, outcome: Outcome, judged_by: Path) -> None:
    outcome.open_controls = seen = witness.control()
    outcome.wrong += _wrong_control(seen, watch.CONTROL_FRAMES, "before the guard stands")
    tell.note(f"a sniffer on the wire sees {seen} of {watch.CONTROL_FRAMES} test frames before the guard stands")
    started = time.monotonic()
    instance.start_agent(lab)
    tell.stage(f"the agent: guard, Envoy and tunnels are up ({time.monotonic() - started:.1f} s)")
    text = judged_by.read_bytes()
    judged = load_policy(text, str(judged_by), lambda name: (lab.node / name).read_bytes())
    with callers(lab) as made:
        _Demo(lab, compile_policy(judged, {}), witness, made, tell, outcome).play()


def _down(lab: Lab) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # an impatient second Ctrl-C would leave half a lab
    try:
        life.down(lab)
    finally:
        signal.signal(signal.SIGINT, before)


class _Demo:
    def __init__(
        self,
        lab: Lab,
        compiled: Compiled,
        witness: watch.Witness,
        made: Callers,
        tell: Telling,
        outcome: Outcome,
    ) -> None:
        self._lab = lab
        self._compiled = compiled
        self._witness = witness
        self._callers = made
        self._tell = tell
        self._outcome = outcome
        self._tokens = {user.name: clients.token(lab, sub=user.name, role=user.role) for user in USERS}
        self._marks: dict[str, Row] = {}

    def play(self) -> None:
        """Make all calls in their order."""
        self._tell.profiles(instance.agent_status(self._lab)["profiles"])
        self._tell.stage("one keep-alive connection of a Python client, request by request")
        self._calls(script.ONE_CONNECTION)
        self._tell.stage("gRPC, and curl over IPv6 and IPv4")
        self._calls((*script.CALLS, *script.COMMANDS))
        self._burst(script.BURST)
        self._tell.stage("attempts to get out another way")
        self._calls(script.ATTEMPTS)
        self._guarded()
        self._lose_a_gateway()
        self._look_back()

    def _calls(self, calls: tuple[Call, ...]) -> None:
        ways = self._ways()
        for call in calls:
            self._call(call, ways)

    def _call(self, call: Call, ways: dict[str, str]) -> None:
        wanted = self._judge(call, ways)
        mark = secrets.token_hex(8)
        self._add(mark, call, wanted, self._callers.make(call, mark, self._headers(call, wanted)))

    def _burst(self, call: Call) -> None:
        """More requests at once than the profile's limit lets through."""
        wanted = self._judge(call, self._ways())
        limit = self._compiled.policy.profile(wanted.profile).limits.profile if wanted.profile else None
        if limit is None:
            return
        most = f"{limit.per_second} requests per second, {limit.burst} at once, earlier ones counted"
        self._tell.stage(f"profile {wanted.profile}: {most}")
        mark = secrets.token_hex(8)
        begun = time.monotonic()
        answers = self._callers.burst(call, mark, self._headers(call, wanted), limit.burst + BEYOND)
        seconds = time.monotonic() - begun
        sources = self._callers.sources(mark)
        passed, limited = answers.count(OK), answers.count(LIMITED)
        odd = [answer for answer in answers if answer not in (OK, LIMITED)]
        first = differences(wanted, Observed(OK, tuple(dict.fromkeys(sources))))
        found = (*first, *too_many(passed, limited, limit.per_second, limit.burst, seconds))
        found += (f"{len(sources)} reached the origin, {passed} passed",) if len(sources) != passed else ()
        found += (f"answers {odd}",) if odd else ()
        row = Row(call, wanted, Observed(OK, sources[:1]), f"{passed} x {OK}, {limited} x {LIMITED}", found)
        self._show(row)

    def _guarded(self) -> None:
        self._outcome.held_controls = seen = self._witness.control()
        self._outcome.wrong += _wrong_control(seen, 0, "behind the guard")
        self._tell.note(
            f"two datagrams and a raw frame, sent by root: the sniffer sees {seen} of {watch.CONTROL_FRAMES}"
        )

    def _lose_a_gateway(self) -> None:
        """End the gateway that the first call goes through; others are made while that call waits for it."""
        wanted = self._judge(script.ORPHANED, self._ways())
        gateway = next((each for each in world.GATEWAYS if each.tunnel == wanted.tunnel), None)
        if gateway is None:
            return
        self._tell.stage(f"the gateway of {gateway.tunnel} dies; what goes through others goes on meanwhile")
        end_processes(self._lab, gateway.host)
        ways, dead = self._ways(), {gateway.tunnel}
        orphan = self._judge(script.ORPHANED, ways, dead)
        mark = secrets.token_hex(8)
        with ThreadPoolExecutor(1) as apart:
            waiting = apart.submit(self._callers.wait, script.ORPHANED, mark, self._headers(script.ORPHANED, orphan))
            for call in script.OTHERS:
                self._call(call, ways)
            self._add(mark, script.ORPHANED, orphan, waiting.result())

    def _look_back(self) -> None:
        """Judge once more at the end: what was refused must not have reached the origin later either."""
        for mark, row in self._marks.items():
            late = Observed(row.observed.status, self._callers.sources(mark))
            if late.sources != row.observed.sources:
                self._outcome.wrong += [f"{row.call}: {found}, later" for found in differences(row.decided, late)]
        counts = self._witness.counts()
        self._outcome.frames = counts.frames["sent"]
        self._outcome.canaries = self._witness.leaked()
        if self._outcome.canaries:
            self._outcome.wrong.append(f"{self._outcome.canaries} frames left in the clear that must not be read")

    def _judge(self, call: Call, ways: dict[str, str], dead: Collection[str] = ()) -> Decided:
        return decided(self._compiled, call, self._token(call), time.time(), ways, dead)

    def _ways(self) -> dict[str, str]:
        return {p["name"]: p["tunnel"] for p in instance.agent_status(self._lab)["profiles"] if p["tunnel"]}

    def _headers(self, call: Call, wanted: Decided) -> tuple[tuple[str, str], ...]:
        token = self._token(call)
        identity = self._compiled.policy.identity
        proof = ((identity.header, identity.prefix + token),) if token and identity else ()
        return proof if wanted.clear else (*proof, ("x-canary", self._witness.canary.decode()))

    def _token(self, call: Call) -> str:
        token = self._tokens.get(call.user, "")
        head, _, signature = token.rpartition(".")
        return f"{head}.{signature[::-1]}" if call.spoiled else token

    def _add(self, mark: str, call: Call, wanted: Decided, seen: Observed) -> None:
        answer = f"grpc {seen.status}" if call.by is By.GRPC else str(seen.status or "reset")
        self._marks[mark] = row = Row(call, wanted, seen, answer, differences(wanted, seen))
        self._show(row)

    def _show(self, row: Row) -> None:
        self._outcome.rows.append(row)
        self._outcome.wrong += [f"{row.call}: {found}" for found in row.differs]
        self._tell.row(row)


def _wrong_control(seen: int, wanted: int, when: str) -> list[str]:
    return [] if seen == wanted else [f"the sniffer sees {seen} test frames {when}, not {wanted}"]
