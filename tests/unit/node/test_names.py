"""The names of a policy, asked in tasks of their own: nobody waits long, and what is known outlives the agent."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pointsman.model.fault import Fault
from pointsman.model.policy import Policy
from pointsman.model.resolution import Answer, Question
from pointsman.node.names import Names, recall
from pointsman.node.trees import Trees
from pointsman.policy.diagram import compile_policy
from pointsman.policy.load import load
from pointsman.system.log import Log

TEXT = b"""
apiVersion: pointsman/v1
kind: Policy
metadata: {name: test}
destinations:
  - {name: shop, hosts: [shop.example]}
  - {name: pay, hosts: [pay.example], addresses: [198.51.100.81]}
"""


def trees(text: bytes = TEXT) -> Trees:
    compiled = compile_policy(load(text, "p.yaml", lambda _: b"").policy)
    return Trees(compiled, lambda _: compiled.root, ())


class Server:
    """A DNS server in a dictionary: it answers, refuses, or is silent until it is told to go on."""

    def __init__(self, answers: Mapping[Question, Answer]) -> None:
        self.answers = dict(answers)
        self.asked: list[Question] = []
        self.awake = asyncio.Event()
        self.awake.set()

    async def ask(self, question: Question, resolvers: Sequence[str]) -> Answer:
        self.asked.append(question)
        await self.awake.wait()
        if question not in self.answers:
            raise Fault("dns", f"ask for `{question.name}`", "no answer")
        return self.answers[question]


A, AAAA = Question("shop.example", 4), Question("shop.example", 6)
BOTH = {A: Answer(("198.51.100.1",), 5), AAAA: Answer(("2001:db8::1",), 5)}


class Clock:
    """Seconds, as many as the test says."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def names(server: Server, clock: Clock, folder: Path, resolvers: Sequence[str] = ("192.0.2.53",)) -> Names:
    return Names(resolvers, folder / "names.json", server.ask, Log(), clock)


async def settle(asked: Names, policy: Policy) -> None:
    asked.turn(policy)
    for _ in range(5):
        await asyncio.sleep(0)


def addresses_of(asked: Names, of: Trees) -> tuple[str, ...]:
    return asked.placed(of).policy.destinations[0].addresses


def test_answers_become_addresses_at_the_next_turn(tmp_path: Path) -> None:
    async def run() -> None:
        known, of = names(Server(BOTH), Clock(), tmp_path), trees()
        assert known.placed(of) is of
        await settle(known, of.policy)
        assert not known.ready  # answered, and not yet in use
        assert addresses_of(known, of) == ("198.51.100.1/32", "2001:db8::1/128")
        assert known.ready
        assert known.placed(of) is known.placed(of)

    asyncio.run(run())


def test_a_silent_resolver_holds_nobody_up_for_long(tmp_path: Path) -> None:
    async def run() -> None:
        server, clock, of = Server(BOTH), Clock(), trees()
        server.awake.clear()
        known = names(server, clock, tmp_path)
        await settle(known, of.policy)
        assert not known.ready
        clock.now += 3
        await settle(known, of.policy)
        assert (known.ready, server.asked, addresses_of(known, of)) == (True, [A, AAAA], ())
        server.awake.set()
        await settle(known, of.policy)
        assert addresses_of(known, of) == ("198.51.100.1/32", "2001:db8::1/128")

    asyncio.run(run())


def test_the_last_known_addresses_go_on_when_the_resolver_is_dead(tmp_path: Path) -> None:
    async def run() -> None:
        server, clock, of = Server(BOTH), Clock(), trees()
        known = names(server, clock, tmp_path)
        await settle(known, of.policy)
        server.answers = {}
        for _ in range(3):
            clock.now += 3600
            await settle(known, of.policy)
        told = known.told(of.policy)
        assert addresses_of(known, of) == ("198.51.100.1/32", "2001:db8::1/128")
        assert told == [
            {
                "destination": "shop",
                "host": "shop.example",
                "addresses": ["198.51.100.1", "2001:db8::1"],
                "age": 10800.0,
                "refused": [],
                "drops": 0,
                "why": "ask for `shop.example`: no answer",
            }
        ]

    asyncio.run(run())


def test_a_question_is_asked_again_when_it_is_due_and_never_twice_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        server, clock, of = Server(BOTH), Clock(), trees()
        known = names(server, clock, tmp_path)
        for _ in range(3):
            await settle(known, of.policy)
        assert server.asked == [A, AAAA]
        server.awake.clear()
        clock.now += 5
        for _ in range(3):
            await settle(known, of.policy)
        assert server.asked == [A, AAAA, A, AAAA]
        server.awake.set()
        await settle(known, of.policy)

    asyncio.run(run())


def test_the_next_agent_knows_what_the_last_one_knew(tmp_path: Path) -> None:
    async def run() -> None:
        server, clock, of = Server(BOTH), Clock(), trees()
        known = names(server, clock, tmp_path)
        await settle(known, of.policy)
        known.turn(of.policy)

        again = names(Server({}), clock, tmp_path)
        assert addresses_of(again, of) == ("198.51.100.1/32", "2001:db8::1/128")
        rebooted = Clock()
        rebooted.now = 10
        assert addresses_of(names(Server({}), rebooted, tmp_path), of) == ()
        known.forget()
        assert addresses_of(names(Server({}), clock, tmp_path), of) == ()

    asyncio.run(run())


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "7",
        '{"shop.example": 4}',
        "[7]",
        '[["shop.example", 4]]',
        '[["shop.example", 5, {}, 1]]',
        '[["shop.example", 4, [], 1]]',
        '[["shop.example", 4, {}, "soon"]]',
        '[["shop.example", 4, {"shop": 9}, 1]]',
        '[["shop.example", 4, {"198.51.100.1": null}, 1]]',
    ],
)
def test_what_was_kept_and_cannot_be_read_is_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "names.json").write_text(text)

    assert recall(tmp_path / "names.json", 1000.0) == {}


def test_names_of_another_policy_are_learned_before_it_is_in_force_and_forgotten_after(tmp_path: Path) -> None:
    async def run() -> None:
        server, clock, of = Server(BOTH), Clock(), trees()
        other = trees(TEXT.replace(b"shop.example", b"mall.example"))
        server.answers[Question("mall.example", 4)] = Answer(("198.51.100.2",), 5)
        known = names(server, clock, tmp_path)
        await settle(known, of.policy)
        await known.learn(other.policy)
        await settle(known, of.policy)
        assert addresses_of(known, other) == ("198.51.100.2/32",)
        clock.now += 601
        server.answers = {}
        await settle(known, other.policy)
        assert addresses_of(known, of) == ()
        assert addresses_of(known, other) == ("198.51.100.2/32",)

    asyncio.run(run())


def test_without_a_declared_resolver_nobody_is_asked_and_that_is_said(tmp_path: Path) -> None:
    async def run() -> None:
        server, of = Server(BOTH), trees()
        known = names(server, Clock(), tmp_path, resolvers=())
        await settle(known, of.policy)
        await known.learn(of.policy)
        assert (server.asked, known.ready) == ([], True)
        assert known.warnings(of.policy) == [
            "destination `shop` has no addresses, and the node file has no `resolvers` to ask: its requests get 421"
        ]

    asyncio.run(run())
