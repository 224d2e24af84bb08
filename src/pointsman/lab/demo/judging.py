"""Calls that are judged: each is decided before it is made, and then looked up in the origin's own record.

All that must not be read on the wire carries the witness's canary.
"""

import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Protocol

from pointsman.lab import clients, instance, watch
from pointsman.lab.demo.callers import Callers
from pointsman.lab.demo.judge import NEW, Decided, Held, Observed, Ways, decided, differences, settled, shared
from pointsman.lab.demo.script import USERS, By, Call
from pointsman.lab.names import Lab
from pointsman.policy.diagram import Compiled


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what was asked, what was decided, what was seen, and in what these differ.

    `told` says more about it, in words for people.
    """

    call: Call
    decided: Decided
    observed: Observed
    answer: str
    differs: tuple[str, ...]
    told: str = ""


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


class Judging:
    """Makes calls and judges them. What no call tells is told by `tell`; what is seen goes to `outcome`."""

    def __init__(
        self, lab: Lab, compiled: Compiled, witness: watch.Witness, made: Callers, tell: Telling, outcome: Outcome
    ) -> None:
        self.lab = lab
        self.compiled = compiled
        self.witness = witness
        self.callers = made
        self.tell = tell
        self.outcome = outcome
        self._tokens = {user.name: clients.token(lab, sub=user.name, role=user.role) for user in USERS}
        self._marks: dict[str, Row] = {}

    def ways(self, dead: Collection[str] = (), barred: Collection[tuple[str, str]] = ()) -> Ways:
        """Return where requests can go now, as the agent says. Gateways that are `dead` lead nowhere."""
        profiles, told = instance.agent_status(self.lab)["profiles"], instance.leases(self.lab)
        tunnels = {profile["name"]: profile["tunnel"] for profile in profiles if profile["tunnel"]}
        held = {(one["profile"], one["holder"]): Held(one["tunnel"], one["gateway"]) for one in told["leases"]}
        spares = frozenset(one["tunnel"] for one in told["spares"])
        return Ways(tunnels, held, spares, frozenset(dead), frozenset(barred))

    def calls(self, calls: tuple[Call, ...]) -> None:
        """Make calls one after the other."""
        ways = self.ways()
        for call in calls:
            self.call(call, ways)

    def call(self, call: Call, ways: Ways, also: tuple[str, ...] = (), told: str = "") -> None:
        """Make one call. `also` is what is wrong beside what comes of it."""
        wanted = self.judge(call, ways)
        mark = secrets.token_hex(8)
        seen = self.callers.make(call, mark, self.headers(call, wanted))
        if wanted.tunnel == NEW:
            after = self.ways()
            wanted = settled(wanted, after)
            if wanted.tunnel:
                made = "a spare tunnel was ready" if wanted.tunnel in ways.spares else "its tunnel was made meanwhile"
                told = f"answered after {seen.seconds * 1000:.0f} ms: {made}"
            ways = after
        self.add(mark, call, wanted, seen, (*shared(wanted, ways), *also), told)

    def burst(
        self, call: Call, wanted: Decided, enough: Callable[[list[int]], bool], pause: float = 0.0
    ) -> tuple[list[int], tuple[str, ...]]:
        """Make a call, `pause` seconds apart, until `enough(answers)`.

        Return the answers, and where the origin saw each call come from.
        """
        mark = secrets.token_hex(8)
        answers = self.callers.many(call, mark, self.headers(call, wanted), enough, pause)
        return answers, self.callers.sources(mark)

    def judge(self, call: Call, ways: Ways) -> Decided:
        """Return what should become of a call."""
        return decided(self.compiled, call, self._token(call), time.time(), ways)

    def headers(self, call: Call, wanted: Decided) -> tuple[tuple[str, str], ...]:
        """Return what goes with a call beside its own headers: who asks, and what must not be read on the wire."""
        token = self._token(call)
        identity = self.compiled.policy.identity
        proof = ((identity.header, identity.prefix + token),) if token and identity else ()
        return proof if wanted.clear else (*proof, self.witness.secret)

    def add(
        self, mark: str, call: Call, wanted: Decided, seen: Observed, also: tuple[str, ...] = (), told: str = ""
    ) -> None:
        """Judge a call that was made, and look at it again at the end."""
        answer = f"grpc {seen.status}" if call.by is By.GRPC else str(seen.status or "reset")
        self._marks[mark] = row = Row(call, wanted, seen, answer, (*differences(wanted, seen), *also), told)
        self.show(row)

    def show(self, row: Row) -> None:
        """Tell a row, and what is wrong with it."""
        self.outcome.rows.append(row)
        self.outcome.wrong += [f"{row.call}: {found}" for found in row.differs]
        self.tell.row(row)

    def look_back(self) -> None:
        """Judge once more at the end: what was refused must not have reached the origin later either."""
        for mark, row in self._marks.items():
            late = Observed(row.observed.status, self.callers.sources(mark))
            if late.sources != row.observed.sources:
                self.outcome.wrong += [f"{row.call}: {found}, later" for found in differences(row.decided, late)]

    def _token(self, call: Call) -> str:
        token = self._tokens.get(call.user, "")
        head, _, signature = token.rpartition(".")
        return f"{head}.{signature[::-1]}" if call.spoiled else token
