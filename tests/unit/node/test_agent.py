"""What the agent says and keeps when a turn fails."""

import asyncio
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from pointsman.dataplane.entries import user_classes
from pointsman.model.connection import Connection
from pointsman.model.fault import Fault
from pointsman.model.problem import Place
from pointsman.model.profile import Level
from pointsman.model.tunnel import Endpoint, Entry, Kind, Lane
from pointsman.node import memory as memories
from pointsman.node.agent import Agent
from pointsman.node.applied import Source
from pointsman.node.fleet import Fleet
from pointsman.node.force import Force
from pointsman.node.paths import Paths, prepare
from pointsman.node.plan import Plan
from pointsman.system.log import Log
from pointsman.tunnels.pool import Pool, Supply
from pointsman.tunnels.port import DirectSpec, Peer, WireguardSpec
from tests.unit.node.test_files import POLICY
from tests.unit.node.test_fleet import Driver
from tests.unit.node.test_plan import node, trees
from tests.unit.tunnels.samples import PRIVATE, PUBLIC

LEFT = (("long", 5, 60.0), ("short", 6, -1.0))


class Kernel:
    """A host that is a list of plans; `refuses` says why it takes no other, empty where it does."""

    unqueued = ()

    def __init__(self) -> None:
        self.plans: list[Plan] = []
        self.glass: list[int] = []
        self.refuses = ""
        self.classes: frozenset[int] = frozenset()

    def apply(self, plan: Plan, glass: int) -> None:
        if self.refuses:
            raise Fault("nft", "put the guard in place", self.refuses)
        self.plans.append(plan)
        self.glass.append(glass)

    def cut(self, lost: Iterable[object]) -> None: ...

    def end(self, lanes: Iterable[Lane]) -> None: ...

    def idle(self, lanes: Iterable[Lane]) -> set[Lane]:
        return set(lanes)

    def occupied(self) -> frozenset[int]:
        return self.classes

    def counters(self) -> dict[str, tuple[int, int]]:
        return {}

    def cut_off(self) -> list[Connection]:
        return []

    def proxy_pid(self) -> int | None:
        return 1


@pytest.fixture
def world(tmp_path: Path) -> tuple[Agent, Kernel]:
    return started(tmp_path)


def started(tmp_path: Path) -> tuple[Agent, Kernel]:
    paths, kernel = Paths(tmp_path, tmp_path), Kernel()
    prepare(paths)
    pool = Pool(tuple(Supply(entry, DirectSpec("eth0")) for entry in node().entries))
    fleet = Fleet(pool, {Kind.DIRECT: Driver()}, tmp_path, 64002, dict, Log())
    host: Any = kernel
    force = Force(node(), paths, host, fleet, Source("p", b"", (), ""), trees(), Log(), frozenset())
    return Agent(force, Log()), kernel


def moved(told: str) -> int:
    return told.count("profile moved")


def test_a_turn_that_failed_leaves_the_plan_in_force_and_is_told(
    world: tuple[Agent, Kernel], capsys: pytest.CaptureFixture[str]
) -> None:
    agent, kernel = world

    async def turns() -> list[Any]:
        said = []
        for kernel.refuses in ("", "no memory", ""):
            said.append((await agent._force.settled(), agent.status(), moved(capsys.readouterr().err)))
        return said

    good, bad, again = asyncio.run(turns())

    assert [(ok, told["state"]) for ok, told, _ in (good, bad, again)] == [
        (True, "open"),
        (False, "stuck"),
        (True, "open"),
    ]
    assert bad[1]["profiles"] == good[1]["profiles"]
    assert bad[1]["warnings"] == [
        "the last turn failed: put the guard in place: no memory; what was put in place before goes on"
    ]
    assert again[1]["warnings"] == []
    assert (good[2] > 0, again[2]) == (True, 0)


def test_a_user_keeps_his_class_where_a_change_fails_and_another_gets_none_that_is_in_use(
    tmp_path: Path, world: tuple[Agent, Kernel]
) -> None:
    agent, kernel = world

    async def name(uid: int) -> dict[int, int]:
        text = POLICY.replace("when: '", f"when: 'process.uid == {uid} && ")
        await agent.orders.apply_policy(text.encode(), "p.yaml", tmp_path)
        return user_classes(kernel.plans[-1].memory.entries)

    async def changes() -> list[dict[int, int]]:
        found = [await name(1001)]
        kernel.refuses, kernel.classes = "no memory", frozenset({202})
        with pytest.raises(Fault):
            await name(1002)
        kernel.refuses = ""
        found.append(await name(1001))
        kernel.classes = frozenset({202, 203, 204})
        return [*found, await name(1003)]

    assert asyncio.run(changes()) == [{1001: 202}, {1001: 202}, {1003: 205}]


def test_a_new_policy_that_a_tunnel_cannot_carry_is_told_in_the_log(
    tmp_path: Path, world: tuple[Agent, Kernel], capsys: pytest.CaptureFixture[str]
) -> None:
    agent, _ = world
    entry = Entry("narrow", Kind.DIRECT, Level.STRONG)
    peer = Peer(PUBLIC, Endpoint("203.0.113.5", 51820, "udp"), ("192.0.2.0/24",), 10)
    spec = WireguardSpec(PRIVATE, ("10.71.0.2",), (peer,), 1420)
    agent._force.fleet.add(Supply(entry, spec, Place("narrow.conf", 7, 1)))

    asyncio.run(agent.orders.apply_policy(POLICY.encode(), "p.yaml", tmp_path))

    [told] = [line for line in map(json.loads, capsys.readouterr().err.splitlines()) if "where" in line]
    assert (told["where"], "leave out `x` (203.0.113.7/32)" in told["what"]) == ("narrow.conf:7:1", True)


def test_nothing_is_proven_between_two_plans(world: tuple[Agent, Kernel], monkeypatch: pytest.MonkeyPatch) -> None:
    agent, kernel = world
    blind: list[str] = []
    monkeypatch.setattr(agent._prover, "turn", lambda look: None)
    monkeypatch.setattr(agent._prover, "blind", blind.append)

    async def turns() -> None:
        for kernel.refuses in ("", "no memory", ""):
            await agent._force.settled()
            await agent._prove()

    asyncio.run(turns())

    assert blind == ["the host was not as it should be"]


def test_more_tunnels_than_there_are_numbers_end_no_turn_and_no_agent(
    world: tuple[Agent, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, kernel = world
    put = agent._force.settle_lanes

    async def turns() -> tuple[bool, str]:
        assert await agent._force.settled()
        monkeypatch.setattr(memories, "TABLES", (7100, 7099))
        agent._force.memory = memories.Memory()
        with pytest.raises(Fault, match="there is room for 0") as fault:
            await put()
        return await agent._force.settled(), fault.value.label

    assert asyncio.run(turns()) == (False, "too-many-tunnels")
    assert agent.status()["state"] == "stuck"
    assert len(kernel.plans) == 1


def test_the_glass_can_be_broken_and_closed_where_no_new_plan_can_be_worked_out(
    world: tuple[Agent, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, kernel = world

    async def broken() -> None:
        assert await agent._force.settled()
        monkeypatch.setattr(memories, "TABLES", (7100, 7099))
        agent._force.memory = memories.Memory()
        await agent.orders.break_glass(60, "a drill")
        kernel.refuses = "no memory"
        with pytest.raises(Fault):
            await agent.orders.break_glass(3600, "another")
        assert agent._force.memory.glass_reason == "a drill"
        kernel.refuses = ""
        await agent.orders.close_glass()

    asyncio.run(broken())

    assert kernel.glass == [0, 60, 0]
    assert agent._force.memory.glass_until is None


def test_what_drains_goes_on_draining_under_the_next_agent_until_its_time_is_over(tmp_path: Path) -> None:
    now = time.monotonic()
    left = {Lane(name, "direct", mark << 20, "eth0", ()): now + within for name, mark, within in LEFT}
    memories.keep(tmp_path / "memory.json", memories.Memory(draining=left))

    for _ in range(2):
        agent, kernel = started(tmp_path)
        asyncio.run(agent._force.fleet.turn())
        assert asyncio.run(agent._force.settled())
        assert [lane.profile for lane in kernel.plans[-1].lanes] == ["long"]
        assert memories.recall(tmp_path / "memory.json").draining.keys() == set(kernel.plans[-1].lanes)


def test_evidence_begins_where_records_are_read_from(world: tuple[Agent, Kernel]) -> None:
    prover = world[0]._prover
    made = prover._since

    prover.skip()

    assert prover._since > made


def test_an_adopted_host_of_which_no_turn_succeeded_is_stuck_and_names_no_tunnel(world: tuple[Agent, Kernel]) -> None:
    agent, kernel = world
    kernel.refuses = "no memory"

    assert not asyncio.run(agent._force.settled())

    told = agent.status()
    assert told["state"] == "stuck"
    assert {(one["tunnel"], *one["why"]) for one in told["profiles"]} == {("", "the agent has not got there yet")}
