"""Tunnels that gateways were asked for, where their gateway does not answer."""

import asyncio
from dataclasses import replace
from pathlib import Path

from pointsman.model.gateway import Gateway, Given, Holder, Made
from pointsman.model.profile import Level
from pointsman.model.tunnel import Endpoint, Kind, State
from pointsman.node.fleet import Fleet
from pointsman.node.made import Kept, keep, recall
from pointsman.node.workshop import Workshop
from pointsman.system.log import Log
from pointsman.tunnels.pool import Pool
from pointsman.tunnels.port import NO_LINKS, Berth, Observation, Spec
from pointsman.tunnels.port import Links as Seen

KEY = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
GIVEN = Given(("10.0.0.2",), Endpoint("192.0.2.21", 51820, "udp"), 1420, ("10.0.0.1",), 120.0, KEY)


class Links:
    """Tunnels that are nothing but names; remembers which were taken down."""

    def __init__(self) -> None:
        self.stopped: list[str] = []

    def start(self, spec: Spec, berth: Berth) -> None:
        """Nothing is to be made."""

    def tend(self, spec: Spec, berth: Berth, links: Seen = NO_LINKS) -> Observation:
        return Observation(State.UP, berth.link)

    def stop(self, berth: Berth) -> None:
        self.stopped.append(berth.name)


async def settled() -> None:
    """Nothing is to be put in force."""


def workshop(folder: Path) -> tuple[Workshop, Links]:
    """A workshop that has taken up `gw-1`. The gateway's certificates are not there, so that it is never reached."""
    links = Links()
    gone = str(folder / "gone.pem")
    gateway = Gateway("gw", "192.0.2.21", 7443, Kind.WIREGUARD, Level.STRONG, (), gone, gone, gone)
    keep(folder / "made", Kept(Made("gw-1", "gw", Holder("vault", "ada"), 0.0, 0.0), KEY, GIVEN))
    made = Workshop(
        [gateway], folder / "made", Fleet(Pool(()), {Kind.WIREGUARD: links}, folder, 0, dict, Log()), settled, Log()
    )
    made.restore()
    return made, links


def test_a_tunnel_that_several_take_away_at_once_is_taken_down_once(tmp_path: Path) -> None:
    shop, links = workshop(tmp_path)

    async def all_at_once() -> None:
        await asyncio.gather(*(shop.remove("gw-1") for _ in range(3)), shop.look(shop.gateways["gw"], True))
        await shop.remove("gw-1")

    asyncio.run(all_at_once())

    assert (links.stopped, shop.made) == (["gw-1"], {})


def test_a_tunnel_is_kept_in_mind_until_its_gateway_has_let_it_go(tmp_path: Path) -> None:
    shop, _ = workshop(tmp_path)

    asyncio.run(shop.remove("gw-1"))

    assert [kept.made.name for kept in recall(tmp_path / "made")] == ["gw-1"]
    assert shop.silent.keys() == {"gw"}


def test_a_tunnel_that_leaves_is_draining(tmp_path: Path) -> None:
    shop, _ = workshop(tmp_path)
    asyncio.run(shop._fleet.tend("gw-1"))
    shop.change(replace(shop.made["gw-1"], leaving=1.0))

    assert shop._fleet.state("gw-1") is State.DRAINING
    assert not shop.carries("gw-1")
