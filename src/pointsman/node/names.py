"""The names that the policy has without addresses: asked of the declared resolvers, in tasks that hold up nobody."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from pointsman.model.fault import Fault
from pointsman.model.policy import Policy
from pointsman.model.resolution import Answer, Question
from pointsman.model.routing import FAMILIES
from pointsman.node import resolve
from pointsman.node.resolve import NOTHING, Known
from pointsman.node.trees import Trees
from pointsman.system.files import replace_file
from pointsman.system.log import Log

Ask = Callable[[Question, Sequence[str]], Awaitable[Answer]]

FIRST_ANSWERS = 3.0
AT_ONCE = 16
KEEP_EVERY = 60.0


class Names:
    """What is known of names, and who is being asked. `clock` is in seconds since boot, as in the file `kept`."""

    def __init__(self, resolvers: Sequence[str], kept: Path, ask: Ask, log: Log, clock: Callable[[], float]) -> None:
        self._resolvers = tuple(resolvers)
        self._kept = kept
        self._ask = ask
        self._log = log
        self._clock = clock
        self._book = recall(kept, clock())
        self._found = resolve.found_by(self._book)
        self._written = clock(), self._found
        self._asking: dict[Question, asyncio.Task[None]] = {}
        self._first: dict[Question, float] = {}
        self._few = asyncio.Semaphore(AT_ONCE)
        self._placed: tuple[Trees, Mapping[str, tuple[str, ...]], Trees] | None = None

    @property
    def ready(self) -> bool:
        """Return whether each name was answered or given up, and the addresses are in use."""
        now = self._clock()
        waiting = any(now < since + FIRST_ANSWERS for since in self._first.values())
        return not waiting and (self._placed is None or self._placed[1] is self._found)

    def placed(self, trees: Trees) -> Trees:
        """Return the trees with the addresses that are known now; the same ones while nothing changes."""
        if self._placed is None or self._placed[0] is not trees or self._placed[1] is not self._found:
            policy = resolve.placed(trees.policy, self._found)
            there = trees if policy is trees.policy else replace(trees, compiled=replace(trees.compiled, policy=policy))
            self._placed = trees, self._found, there
        return self._placed[2]

    def known(self, policy: Policy) -> Policy:
        """Return the policy with the addresses that are known now, in use or not yet."""
        return resolve.placed(policy, self._found)

    def turn(self, policy: Policy) -> None:
        """Begin to ask what is due. Questions have to be free to leave by now."""
        now = self._clock()
        for question, task in list(self._asking.items()):
            if task.done():
                del self._asking[question]
                task.result()
        wanted = resolve.questions(policy) if self._resolvers else ()
        self._begin(question for question in wanted if self._book.get(question, NOTHING).due <= now)
        for question in set(self._book) - set(wanted) - set(self._asking):
            if resolve.stale(self._book[question], now):
                self._learn(question, NOTHING)
                del self._book[question]
        if now - self._written[0] > KEEP_EVERY or self._written[1] is not self._found:
            self._keep()

    async def learn(self, policy: Policy) -> None:
        """Ask for names that nobody asked for yet, and wait a moment for the answers."""
        wanted = resolve.questions(policy) if self._resolvers else ()
        self._begin(question for question in wanted if question not in self._book)
        if tasks := [self._asking[question] for question in wanted if question in self._asking]:
            await asyncio.wait(tasks, timeout=FIRST_ANSWERS)

    def told(self, policy: Policy) -> list[dict[str, Any]]:
        """Return what is known of each name of the policy, as the status shows it."""
        return [
            {"destination": one.name, **self._told(name)}
            for one in policy.destinations
            if one.resolved
            for name in resolve.names_of(one.hosts)
        ]

    def warnings(self, policy: Policy) -> list[str]:
        """Return what keeps names from being resolved."""
        unsaid = [] if self._resolvers else [one.name for one in policy.destinations if one.resolved]
        return [
            f"destination `{name}` has no addresses, and the node file has no `resolvers` to ask: its requests get 421"
            for name in unsaid
        ]

    def forget(self) -> None:
        """Remove what was kept for the next agent."""
        self._kept.unlink(missing_ok=True)

    def _begin(self, questions: Iterable[Question]) -> None:
        for question in questions:
            if question not in self._asking:
                if question not in self._book:
                    self._first.setdefault(question, self._clock())
                self._asking[question] = asyncio.get_running_loop().create_task(self._resolve(question))

    async def _resolve(self, question: Question) -> None:
        try:
            async with self._few:
                answer = await self._ask(question, self._resolvers)
        except Fault as fault:
            before = self._book.get(question, NOTHING)
            if not before.why:
                self._log.event("a name is not answered", name=question.name, why=str(fault))
            self._learn(question, resolve.failed(before, str(fault), self._clock()))
        else:
            before = self._book.get(question, NOTHING)
            known = resolve.answered(before, question, answer, self._clock())
            if known.refused and known.refused != before.refused:
                self._log.event("addresses that no name may have are refused", name=question.name, found=known.refused)
            if set(known.addresses) != set(before.addresses):
                self._log.event("a name has other addresses", name=question.name, addresses=list(known.addresses))
            self._learn(question, known)
        self._first.pop(question, None)

    def _learn(self, question: Question, known: Known) -> None:
        self._book[question] = known
        found = resolve.addresses(self._book, question.name)
        if found != self._found.get(question.name, ()):
            self._found = {**self._found, question.name: found}

    def _keep(self) -> None:
        content = [[q.name, q.family, dict(k.addresses), k.answered] for q, k in sorted(self._book.items())]
        replace_file(self._kept, json.dumps(content).encode())
        self._written = self._clock(), self._found

    def _told(self, name: str) -> dict[str, Any]:
        known = [self._book.get(Question(name, family), NOTHING) for family in FAMILIES]
        times = [each.answered for each in known if each.answered is not None]
        return {
            "host": name,
            "addresses": list(self._found.get(name, ())),
            "age": round(self._clock() - min(times), 1) if times else None,
            "refused": sorted(address for each in known for address in each.refused),
            "drops": sum(each.drops for each in known),
            "why": "; ".join(dict.fromkeys(each.why for each in known if each.why)),
        }


def recall(kept: Path, now: float) -> dict[Question, Known]:
    """Return what an earlier agent knew; nothing where that was before the last boot, or cannot be read."""
    try:
        return {
            Question(str(name), FAMILIES[FAMILIES.index(family)]): Known(_until(addresses), answered)
            for name, family, addresses, answered in json.loads(kept.read_bytes())
            if answered is not None and answered <= now
        }
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        return {}


def _until(kept: Mapping[str, float]) -> dict[str, float]:
    return {str(ip_address(address)): float(until) for address, until in kept.items()}
