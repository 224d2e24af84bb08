"""An agent that is killed at every step of making a tunnel and of taking it away: the next one leaves no orphan."""

import asyncio
from itertools import count
from pathlib import Path

import httpx
import pytest

from pointsman.model.fault import Fault
from pointsman.model.tunnel import Kind, State
from pointsman.node.fleet import Fleet
from pointsman.node.made import names
from pointsman.node.workshop import Workshop
from pointsman.system.clock import boot_time
from pointsman.system.log import Log
from pointsman.tunnels.pool import Pool
from pointsman.tunnels.port import NO_LINKS, Berth, Observation, Spec
from pointsman.tunnels.port import Links as Seen
from tests.unit.node.test_workshop import GATEWAY, KEY
from tests.unit.system.test_gateways import GIVEN

MADE = {**GIVEN, "public_key": KEY}


class KilledError(Exception):
    """The agent is killed here."""


class World:
    """What outlives an agent: its folder, its links, and the gateway with what it has granted.

    The agent lives for so many steps; each change outside it is two, one before it is made and one after.
    """

    def __init__(self, folder: Path, lives: int | None = None) -> None:
        self.folder = folder
        self.left = lives
        self.granted: set[str] = set()
        self.refused: str | None = None

    def step(self) -> None:
        """Let the agent live on, or kill it."""
        if self.left == 0:
            raise KilledError
        self.left = self.left - 1 if self.left is not None else None

    def links(self) -> set[str]:
        """Return the tunnels that have a link."""
        return {path.name for path in (self.folder / "tunnels").glob("*")}

    def agent(self) -> Workshop:
        """Start an agent, with what an earlier one has left."""
        fleet = Fleet(Pool(()), {Kind.WIREGUARD: self}, self.folder, 0, dict, Log())
        shop = Workshop([GATEWAY], self.folder / "made", fleet, self.settle, Log())
        transport = httpx.MockTransport(self.answer)
        shop.far_ends.ends["gw"]._http = httpx.AsyncClient(base_url="https://192.0.2.21", transport=transport)
        shop.restore()
        return shop

    async def settle(self) -> None:
        """Put in force what there is; what is to be refused is refused when it has a link."""
        self.step()
        if self.refused is not None and len(self.links()) > 1:
            raise Fault("nft-refused", "change the guard", self.refused)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer as the gateway does."""
        name = request.url.path.rpartition("/")[2]
        self.step()
        match request.method:
            case "PUT":
                self.granted.add(name)
                told = httpx.Response(201, json=MADE)
            case "DELETE":
                self.granted.discard(name)
                told = httpx.Response(204)
            case "POST":
                told = httpx.Response(200, json={"renewed": [], "unknown": []})
            case _:
                told = httpx.Response(200, json=[{"id": one} for one in sorted(self.granted)])
        self.step()
        return told

    def start(self, spec: Spec, berth: Berth) -> None:
        self.step()
        (self.folder / "tunnels" / berth.name).mkdir(parents=True, exist_ok=True)
        self.step()

    def tend(self, spec: Spec, berth: Berth, links: Seen = NO_LINKS) -> Observation:
        return Observation(State.UP if berth.name in self.links() else State.GONE, berth.link)

    def stop(self, berth: Berth) -> None:
        self.step()
        if berth.name in self.links():
            (self.folder / "tunnels" / berth.name).rmdir()
        self.step()

    def revive(self, spec: Spec, berth: Berth) -> None:
        """Nothing is forgotten here."""


async def work(world: World, shop: Workshop) -> None:
    """Have one tunnel that stays, one that is made and taken away again, and one that cannot be put in force."""
    await shop.make(GATEWAY, None, None)
    gone = await shop.make(GATEWAY, None, None)
    shop.retire(gone.name, boot_time())
    await shop.remove(gone.name)
    world.refused = "no room"
    with pytest.raises(Fault, match="no room"):
        await shop.make(GATEWAY, None, None)
    await shop.look(GATEWAY)


async def looked_after(shop: Workshop) -> None:
    """Do what an agent does when it starts, and in its next turns."""
    await shop._fleet.sweep()
    for _ in range(2):
        await shop._fleet.turn()
        for name in [one.name for one in shop.made.values() if one.leaving is not None]:
            await shop.remove(name)
        await shop.look(GATEWAY)


@pytest.mark.parametrize("silent", [False, True])
def test_whatever_step_an_agent_dies_at_the_next_one_and_the_gateway_have_the_same_tunnels(
    tmp_path: Path, silent: bool
) -> None:
    """`silent`: the one after it dies at its first word to the gateway, too."""
    died = 0
    for lives in count():
        world = World(tmp_path / str(lives), lives)
        world.folder.mkdir()
        try:
            asyncio.run(work(world, world.agent()))
            break
        except KilledError:
            died += 1
        if silent:
            world.left = 1
            with pytest.raises(KilledError):
                asyncio.run(looked_after(world.agent()))
        world.left = world.refused = None
        asyncio.run(looked_after(world.agent()))

        assert set(names(world.folder / "made")) == world.granted == world.links(), f"killed at step {lives}"
    assert died > 24
