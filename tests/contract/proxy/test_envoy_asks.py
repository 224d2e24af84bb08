"""Requests of holders in a real Envoy: held while the agent is asked, sent by its answer, and not asked about again."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import pytest

from pointsman.dataplane import asking
from pointsman.dataplane.envoy import Settings
from pointsman.dataplane.resources import EnvoyFiles, compile_envoy
from pointsman.lab.clients import Answer as Answered
from pointsman.lab.clients import connected, token
from pointsman.lab.instance import reached
from pointsman.lab.names import Lab
from pointsman.model.formula import Atom, Prefix
from pointsman.model.policy import Policy, Rule
from pointsman.model.problem import Place
from pointsman.model.profile import Holding, Level, Profile, Who
from pointsman.model.tunnel import Lane
from pointsman.node import asks
from pointsman.node.asks import Answer, Ask, Granted, Refused
from pointsman.policy.diagram import compile_policy

from .conftest import FAST, LANES, SAFE, UID, Proxy, settings

Done = TypeVar("Done")
ADDRESS, HOST = "198.51.100.80", "public.example"
PROFILES = (
    Profile("own", Level.NONE, holding=Holding(Who.USER, wait=1)),
    Profile("team", Level.NONE, holding=Holding(Who.ATTRIBUTE, "tenant", wait=1)),
    Profile("each", Level.NONE, holding=Holding(Who.WORKLOAD, wait=1)),
    Profile("ruled", Level.NONE, holding=Holding(Who.RULE, wait=1)),
)
LATE = Lane("own", "late", 0x00600000, "eth0", SAFE)


def _policy(base: Policy) -> Policy:
    rules = [
        Rule(f"to-{one.name}", Atom("request.path", Prefix(f"/{one.name}")), one.name, "", Place()) for one in PROFILES
    ]
    return replace(base, profiles=(*base.profiles, *PROFILES), rules=(*rules, *base.rules))


@dataclass
class Asker:
    """The agent's part: answers as it is told, and remembers what it was asked."""

    proxy: Proxy
    policy: Policy
    settings: Settings
    asked: list[Ask] = field(default_factory=list)
    answer: Callable[[Ask], Awaitable[Answer]] = field(default=lambda _: _refuse())

    async def __call__(self, ask: Ask) -> Answer:
        self.asked.append(ask)
        return await self.answer(ask)

    def files(self, holders: Mapping[str, Mapping[str, Lane]] | None = None, *more: Lane) -> EnvoyFiles:
        return compile_envoy(compile_policy(self.policy), {}, (*LANES, *more), self.proxy.ports, self.settings, holders)


async def _refuse() -> Answer:
    return Refused("nobody makes it")


@pytest.fixture(scope="module")
def asker(proxy: Proxy) -> Iterator[Asker]:
    socket = proxy.place.folder / "asking" / "socket"
    found = Asker(proxy, _policy(proxy.policy), replace(settings(proxy.place), asked=str(socket)))
    before = proxy.files(proxy.policy)
    with _serving(found):
        proxy.publish(found.files())
        yield found
    proxy.publish(before)


@contextmanager
def _serving(asker: Asker) -> Iterator[None]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def do(what: Coroutine[object, object, Done]) -> Done:
        return asyncio.run_coroutine_threadsafe(what, loop).result(10)

    server = do(asks.serve(Path(asker.settings.asked), UID, asker))
    try:
        yield
    finally:
        do(server.stop(None))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def _ask(lab: Lab, path: str, user: str = "", **headers: str) -> Answered:
    told = [("authorization", f"Bearer {token(lab, sub=user)}")] if user else []
    with connected(lab, ADDRESS, 80) as client:
        return client.ask(path, host=HOST, headers=(*told, *((k.replace("_", "-"), v) for k, v in headers.items())))


def test_a_first_request_leaves_by_a_cluster_that_was_made_while_it_waited(lab: Lab, asker: Asker) -> None:
    async def make(ask: Ask) -> Answer:
        await asyncio.to_thread(asker.proxy.publish, asker.files(None, LATE))
        return Granted(LATE.cluster)

    asker.answer = make
    answer = _ask(lab, "/own/first", "anna")

    assert (answer.status, reached(lab)[-1]["source"]) == (200, SAFE[0])
    assert asker.asked[-1].profile == "own"
    assert asker.asked[-1].rule == "to-own"
    assert asker.asked[-1].headers["x-pointsman-claim-sub"] == b"anna"


def test_a_known_holder_is_not_asked_about(lab: Lab, asker: Asker) -> None:
    asker.proxy.publish(asker.files({"own": {"bert": LATE}}, LATE))
    asked = len(asker.asked)

    assert _ask(lab, "/own/again", "bert").status == 200
    assert len(asker.asked) == asked
    assert reached(lab)[-1]["source"] == SAFE[0]


def test_a_refusal_says_why_and_nothing_leaves(lab: Lab, asker: Asker) -> None:
    asker.answer = lambda _: _refuse()
    before = len(reached(lab))
    answer = _ask(lab, "/own/refused", "carl")

    assert (answer.status, answer.json()["detail"]) == (503, "nobody makes it")
    assert answer.json()["rule"] == "to-own"
    assert len(reached(lab)) == before


def test_nobody_has_no_tunnel_of_his_own(lab: Lab, asker: Asker) -> None:
    asked = len(asker.asked)

    assert _ask(lab, "/own/nobody").status == 403
    assert _ask(lab, "/own/nobody", x_pointsman_claim_sub="anna").status == 403
    assert len(asker.asked) == asked


def test_a_client_that_names_its_cluster_is_not_heard(lab: Lab, asker: Asker) -> None:
    asker.answer = lambda _: _refuse()

    assert _ask(lab, "/own/forged", "carl", x_pointsman_tunnel="fast@a").status == 503


def test_an_answer_that_names_no_cluster_leads_nowhere(lab: Lab, asker: Asker) -> None:
    async def wrong(_: Ask) -> Answer:
        return Granted("no-such-cluster")

    asker.answer = wrong
    before = len(reached(lab))

    assert _ask(lab, "/own/nowhere", "carl").status in (404, 503)
    assert len(reached(lab)) == before


def test_more_requests_than_may_be_held_at_once_are_refused(
    lab: Lab, asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, freed = threading.Event(), threading.Event()

    async def hold(_: Ask) -> Answer:
        asked.set()
        await asyncio.to_thread(freed.wait, 10)
        return Refused("nobody makes it")

    asker.answer = hold
    monkeypatch.setattr(asking, "_HELD", 1)
    asker.proxy.publish(asker.files())
    with ThreadPoolExecutor(1) as first:
        held = first.submit(_ask, lab, "/own", "ada")
        assert asked.wait(10)
        refused = _ask(lab, "/own", "bert")
        assert not held.done()
        freed.set()
        told = held.result(10)
    monkeypatch.undo()
    asker.proxy.publish(asker.files())

    assert (refused.status, "nobody makes it" in refused.body) == (503, False)
    assert (told.status, told.json()["detail"]) == (503, "nobody makes it")


def test_an_agent_that_does_not_answer_in_time_is_a_refusal(lab: Lab, asker: Asker) -> None:
    gone = asyncio.Event()

    async def never(_: Ask) -> Answer:
        await gone.wait()
        return Granted(LATE.cluster)

    asker.answer = never
    before = len(reached(lab))

    assert _ask(lab, "/own/late", "carl").status == 503
    assert len(reached(lab)) == before


def test_holders_are_told_apart_by_header_by_workload_and_by_rule(lab: Lab, asker: Asker) -> None:
    asker.answer = lambda _: _refuse()
    lane = Lane("team", "late", 0x00600000, "eth0", SAFE)
    asker.proxy.publish(
        asker.files({"team": {"gold": lane, "none": lane}, "each": {"2001": lane}, "ruled": {"to-ruled": lane}}, lane)
    )

    assert _ask(lab, "/team/x", x_tenant="gold").status == 200
    assert _ask(lab, "/team/x").status == 200  # absent counts as `none`
    assert _ask(lab, "/team/x", x_tenant="silver").status == 503
    assert _ask(lab, "/ruled/x").status == 200
    assert _ask(lab, "/each/x").status == 503
    assert (asker.asked[-1].source[0], asker.asked[-1].destination) == (FAST[0], (ADDRESS, 80))
    with connected(lab, ADDRESS, 80, uid=2001) as client:
        assert client.ask("/each/x", host=HOST).status == 200


def test_names_that_are_no_ascii_stay_apart(lab: Lab, asker: Asker) -> None:
    asker.answer = lambda _: _refuse()
    asker.proxy.publish(asker.files({"own": {"jörg": LATE}}, LATE))

    assert _ask(lab, "/own/x", "jörg").status == 200
    assert _ask(lab, "/own/x", "järg").status == 503
    assert asker.asked[-1].headers["x-pointsman-claim-sub"].decode() == "järg"
