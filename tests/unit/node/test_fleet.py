import asyncio
from pathlib import Path

from pointsman.model.fault import Fault
from pointsman.model.profile import Level
from pointsman.model.tunnel import Entry, Kind, State
from pointsman.node.fleet import Fleet
from pointsman.tunnels.pool import Pool, Supply
from pointsman.tunnels.port import NO_LINKS, Berth, DirectSpec, Link, Links, Observation, Spec

ETH0 = Link(2, "veth", "", 1500, True, True, ("192.0.2.10",))


class Driver:
    """Remembers which links it was shown."""

    def __init__(self) -> None:
        self.shown: list[Links] = []

    def start(self, spec: Spec, berth: Berth) -> None: ...

    def tend(self, spec: Spec, berth: Berth, links: Links = NO_LINKS) -> Observation:
        self.shown.append(links)
        return self.observe(spec, berth)

    def observe(self, spec: Spec, berth: Berth) -> Observation:
        return Observation(State.UP, "eth0")

    def stop(self, berth: Berth) -> None: ...


def turned(driver: Driver, links: Links | Fault) -> list[State]:
    looks = []

    def look() -> Links:
        looks.append(links)
        if isinstance(links, Fault):
            raise links
        return links

    entries = [Entry(name, Kind.DIRECT, Level.NONE, device="eth0") for name in ("a", "b", "c")]
    pool = Pool(tuple(Supply(entry, DirectSpec("eth0")) for entry in entries))
    fleet = Fleet(pool, {Kind.DIRECT: driver}, Path("/nowhere"), 64002, look)
    asyncio.run(fleet.turn())
    assert len(looks) == 1
    return [fleet.state(entry.name) for entry in entries]


def test_one_look_at_all_links_serves_every_tunnel_of_a_turn() -> None:
    driver = Driver()

    assert turned(driver, {"eth0": ETH0}) == [State.UP] * 3
    assert driver.shown == [{"eth0": ETH0}] * 3


def test_where_that_look_fails_every_driver_looks_for_itself() -> None:
    driver = Driver()

    assert turned(driver, Fault("tunnel-link", "look at all links", "no memory")) == [State.UP] * 3
    assert driver.shown == [NO_LINKS] * 3
