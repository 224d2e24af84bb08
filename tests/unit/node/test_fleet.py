import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pointsman.model.fault import Fault
from pointsman.model.profile import Level
from pointsman.model.tunnel import Entry, Kind, State
from pointsman.node.fleet import Fleet
from pointsman.system.log import Log
from pointsman.tunnels.pool import Pool, Supply
from pointsman.tunnels.port import NO_LINKS, Berth, DirectSpec, Link, Links, Observation, Spec

ETH0 = Link(2, "veth", "", 1500, True, True, ("192.0.2.10",))


class Driver:
    """Remembers which links it was shown, and sees what it is told to, fault or observation, in this order."""

    def __init__(self, *sees: Observation | Fault) -> None:
        self.shown: list[Links] = []
        self._sees = list(sees)

    def start(self, spec: Spec, berth: Berth) -> None: ...

    def tend(self, spec: Spec, berth: Berth, links: Links = NO_LINKS) -> Observation:
        self.shown.append(links)
        seen = self._sees.pop(0) if self._sees else Observation(State.UP, "eth0")
        if isinstance(seen, Fault):
            raise seen
        return seen

    def stop(self, berth: Berth) -> None: ...


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
