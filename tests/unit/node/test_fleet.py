import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pointsman.model.fault import Fault
from pointsman.model.profile import Health, Level
from pointsman.model.tunnel import Entry, Kind, State
from pointsman.node.fleet import Fleet
from pointsman.system.log import Log
from pointsman.tunnels import lifecycle
from pointsman.tunnels.attempts import Attempts, answered
from pointsman.tunnels.health import Pulse
from pointsman.tunnels.pool import Pool, Supply
from pointsman.tunnels.port import NO_LINKS, Berth, DirectSpec, Link, Links, Observation, Spec, link_name

ETH0 = Link(2, "veth", "", 1500, True, True, ("192.0.2.10",))


class Driver:
    """Remembers which links it was shown, and which tunnels it took down; the first `refuses` times that fails.

    It sees what it is told to, fault or observation, in this order.
    """

    def __init__(self, *sees: Observation | Fault, refuses: int = 0) -> None:
        self.shown: list[Links] = []
        self.stopped: list[str] = []
        self.revived: list[str] = []
        self._sees = list(sees)
        self._refuses = refuses

    def start(self, spec: Spec, berth: Berth) -> None: ...

    def tend(self, spec: Spec, berth: Berth, links: Links = NO_LINKS) -> Observation:
        self.shown.append(links)
        seen = self._sees.pop(0) if self._sees else Observation(State.UP, "eth0")
        if isinstance(seen, Fault):
            raise seen
        return seen

    def revive(self, spec: Spec, berth: Berth) -> None:
        self.revived.append(berth.name)

    def stop(self, berth: Berth) -> None:
        if self._refuses:
            self._refuses -= 1
            raise Fault("tunnel-daemon", f"end tunnel `{berth.name}`", "it does not end")
        self.stopped.append(berth.name)


def fleet_of(driver: Driver, names: str, look: Callable[[], Links] = dict) -> Fleet:
    entries = [Entry(name, Kind.DIRECT, Level.NONE, device="eth0") for name in names]
    pool = Pool(tuple(Supply(entry, DirectSpec("eth0")) for entry in entries))
    return Fleet(pool, {Kind.DIRECT: driver}, Path("/nowhere"), 64002, look, Log())


def turned(driver: Driver, links: Links | Fault) -> list[State]:
    looks = []

    def look() -> Links:
        looks.append(links)
        if isinstance(links, Fault):
            raise links
        return links

    fleet = fleet_of(driver, "abc", look)
    asyncio.run(fleet.turn())
    assert len(looks) == 1
    return [fleet.state(name) for name in "abc"]


def test_one_look_at_all_links_serves_every_tunnel_of_a_turn() -> None:
    driver = Driver()

    assert turned(driver, {"eth0": ETH0}) == [State.UP] * 3
    assert driver.shown == [{"eth0": ETH0}] * 3


def test_where_that_look_fails_every_driver_looks_for_itself() -> None:
    driver = Driver()

    assert turned(driver, Fault("tunnel-link", "look at all links", "no memory")) == [State.UP] * 3
    assert driver.shown == [NO_LINKS] * 3


def test_the_log_says_once_when_a_tunnel_changes_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    up, slow = Observation(State.UP, "eth0"), Observation(State.DEGRADED, "eth0", why="loses 20 %")
    fleet = fleet_of(Driver(up, up, slow, slow, up, Fault("tunnel-link", "look at `eth0`", "no memory"), up), "a")

    for _ in range(7):
        asyncio.run(fleet.turn())
    fleet.retire("a")

    assert [(line["event"], line.get("state"), line.get("why")) for line in lines(capsys)] == [
        ("a tunnel is now", "up", ""),
        ("a tunnel is now", "degraded", "loses 20 %"),
        ("a tunnel is now", "up", ""),
        ("look at `eth0`: no memory", None, None),
        ("a tunnel is now", "failed", "look at `eth0`: no memory"),
        ("a tunnel is now", "up", ""),
        ("a tunnel is now", "draining", ""),
    ]


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def fleet_at(runtime: Path, driver: Driver, links: Links) -> Fleet:
    """A fleet of tunnel `a`; of `b` there is a folder, too."""
    for name in ("a", "b"):
        (runtime / "tunnels" / name).mkdir(parents=True)
    pool = Pool((Supply(Entry("a", Kind.DIRECT, Level.NONE, device="eth0"), DirectSpec("eth0")),))
    return Fleet(pool, {Kind.DIRECT: driver}, runtime, 64002, lambda: links, Log())


def link_of(runtime: Path, tunnel: str) -> tuple[str, Link]:
    return link_name(str(runtime), tunnel), Link(7, "tun", f"pointsman:{tunnel}", 1420, True, True, ())


def test_what_an_earlier_agent_left_here_of_tunnels_that_are_no_more_is_taken_down(tmp_path: Path) -> None:
    elsewhere = link_of(tmp_path / "another", "c")
    links = dict([link_of(tmp_path, "a"), link_of(tmp_path, "orphan"), elsewhere, ("eth0", ETH0)])
    driver = Driver()

    assert asyncio.run(fleet_at(tmp_path, driver, links).sweep()) == ()
    assert driver.stopped == ["b", "orphan"]


def test_where_links_cannot_be_seen_nothing_is_taken_down(tmp_path: Path) -> None:
    fault, driver = Fault("tunnel-link", "look at all links", "no memory"), Driver()
    fleet = fleet_at(tmp_path, driver, {})

    def look() -> Links:
        raise fault

    fleet._links = look

    assert (asyncio.run(fleet.sweep()), driver.stopped) == ((fault,), [])


def test_a_tunnel_that_could_not_be_taken_down_is_tried_again_when_all_go(tmp_path: Path) -> None:
    driver = Driver(refuses=1)
    fleet = fleet_at(tmp_path, driver, {})

    async def all_go() -> tuple[object, object]:
        return await fleet.remove("a"), await fleet.stop()

    fault, left = asyncio.run(all_go())

    assert (str(fault), left) == ("end tunnel `a`: it does not end", ())
    assert driver.stopped == ["a", "b"]


def test_what_cannot_be_taken_down_is_told(tmp_path: Path) -> None:
    left = asyncio.run(fleet_at(tmp_path, Driver(refuses=9), {}).stop())

    assert [str(fault) for fault in left] == [f"end tunnel `{name}`: it does not end" for name in ("a", "b")]


def test_what_a_tunnel_had_sent_is_not_forgotten_with_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "REVIVE", 0.0)
    driver = Driver(*(Observation(State.UP, "eth0", sent=sent) for sent in (100, 900, 20, 50)))
    fleet = fleet_of(driver, "a")
    asyncio.run(fleet.turn())
    fleet.heed({"a": (Pulse(dead=True), Health())}, time.monotonic())

    asyncio.run(fleet.turn())
    fleet.heed({"a": (Pulse(), Health())}, time.monotonic())
    asyncio.run(fleet.turn())

    assert (driver.revived, fleet.took()) == (["a"], {"a": 880 + 50})


@pytest.mark.parametrize(("pause", "times"), [(0.0, 3), (60.0, 0)])
def test_a_gateway_that_answers_no_probe_is_greeted_anew_after_a_while(
    monkeypatch: pytest.MonkeyPatch, pause: float, times: int
) -> None:
    monkeypatch.setattr(lifecycle, "REVIVE", pause)
    driver = Driver()
    fleet = fleet_of(driver, "ab")
    asyncio.run(fleet.turn())
    fleet.heed({"a": (Pulse(dead=True), Health())}, time.monotonic())

    for _ in range(3):
        asyncio.run(fleet.turn())

    assert (fleet.state("a"), driver.revived) == (State.FAILED, ["a"] * times)


def silent(now: float) -> Attempts:
    """What is known of a tunnel on which five attempts have just failed."""
    return Attempts((now,) * 5, doubted=now)


def weighed(driver: Driver, entry: Entry, heeded: bool = False) -> Fleet:
    """A fleet of one tunnel that came up, and whose requests then were not answered."""
    fleet = Fleet(
        Pool((Supply(entry, DirectSpec("eth0")),)), {entry.kind: driver}, Path("/nowhere"), 64002, dict, Log()
    )
    asyncio.run(fleet.turn())
    if heeded:
        fleet.heed({entry.name: (Pulse(), Health())}, time.monotonic())
    now = time.monotonic()
    fleet.weigh({entry.name: silent(now), "gone": silent(now)}, now)
    return fleet


UNPROBED = Entry("a", Kind.WIREGUARD, Level.STRONG)


def test_a_tunnel_without_a_probe_is_degraded_when_no_attempt_is_answered() -> None:
    fleet = weighed(Driver(), UNPROBED)
    assert fleet.state("a") is State.DEGRADED
    assert fleet.tunnels({"a": 7100})[0].why == "5 attempts to connect failed within 15 s, none was answered"

    asyncio.run(fleet.turn())
    assert fleet.state("a") is State.DEGRADED

    now = time.monotonic()
    fleet.weigh({"a": answered(silent(now), now)}, now)
    assert fleet.state("a") is State.UP


def test_a_doubted_tunnel_is_up_again_when_its_time_is_over() -> None:
    fleet = weighed(Driver(), UNPROBED)

    fleet.weigh({}, time.monotonic())  # nothing is known of it any more
    asyncio.run(fleet.turn())

    assert fleet.state("a") is State.UP


@pytest.mark.parametrize("heeded", [True, False])
def test_where_there_is_a_probe_it_decides_alone(heeded: bool) -> None:
    assert weighed(Driver(), replace(UNPROBED, probe="10.71.0.1"), heeded).state("a") is State.UP


def test_direct_has_no_gateway_that_could_be_silent() -> None:
    assert weighed(Driver(), Entry("a", Kind.DIRECT, Level.NONE, device="eth0")).state("a") is State.UP


def test_what_was_before_a_tunnel_came_up_does_not_count_against_it() -> None:
    up = Observation(State.UP, "pm0")
    fleet = weighed(Driver(up, Observation(State.FAILED, "pm0", why="no answer"), up), UNPROBED)
    before = {"a": silent(time.monotonic())}

    asyncio.run(fleet.turn())
    assert fleet.state("a") is State.FAILED
    asyncio.run(fleet.turn())
    fleet.weigh(before, time.monotonic())
    assert fleet.state("a") is State.UP
