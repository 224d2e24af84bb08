"""Tunnels that gateways were asked for, where their gateway does not answer."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from pointsman.model.fault import Fault
from pointsman.model.gateway import Gateway, Given, Holder, Made
from pointsman.model.profile import Labels, Level
from pointsman.model.tunnel import Endpoint, Kind, State
from pointsman.node.fleet import Fleet
from pointsman.node.made import Kept, keep, recall
from pointsman.node.workshop import AT_ONCE, Workshop
from pointsman.system.clock import boot_time
from pointsman.system.log import Log
from pointsman.tunnels.pool import Pool
from pointsman.tunnels.port import NO_LINKS, Berth, Observation, Spec
from pointsman.tunnels.port import Links as Seen
from tests.unit.system.test_gateways import GIVEN as ANSWER

KEY = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
GIVEN = Given(("10.0.0.2",), Endpoint("192.0.2.21", 51820, "udp"), 1420, ("10.0.0.1",), 120.0, KEY)

MADE = Made("gw-1", "gw", Kind.WIREGUARD, Level.STRONG, (), Holder("vault", "ada", "claim sub by nobody"), 0.0, 0.0)


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


GONE = "/nowhere/gone.pem"
GATEWAY = Gateway("gw", "192.0.2.21", 7443, Kind.WIREGUARD, Level.STRONG, (), GONE, GONE, GONE)


def workshop(
    folder: Path, *gateways: Gateway, kept: Iterable[Kept] = (Kept(MADE, KEY, GIVEN),), spoken_for: Iterable[str] = ()
) -> tuple[Workshop, Links]:
    """A workshop that has taken up `gw-1`. Certificates of gateways are not there, so that they are never reached."""
    links = Links()
    for one in kept:
        keep(folder / "made", one)
    fleet = Fleet(Pool(()), {Kind.WIREGUARD: links, Kind.OPENVPN: links}, folder, 0, dict, Log())
    made = Workshop(gateways, folder / "made", fleet, settled, Log(), lambda: frozenset(spoken_for))
    made.restore()
    return made, links


def reached(shop: Workshop, *refuses: str) -> list[str]:
    """Have the gateway of a workshop answer, but refuse what is among these; return what it will have been asked."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        what = f"{request.method} {request.url.path}"
        asked.append(what)
        if any(what.startswith(one) for one in refuses):
            return httpx.Response(507, json={"problems": [{"label": "full", "what": "it is full"}]})
        if request.method == "POST":
            return httpx.Response(200, json={"renewed": [], "unknown": []})
        return httpx.Response(200, json=[])

    transport = httpx.MockTransport(answer)
    shop.far_ends.ends["gw"]._http = httpx.AsyncClient(base_url="https://192.0.2.21", transport=transport)
    return asked


def half(number: int) -> Kept:
    """What a killed agent leaves of a tunnel that its gateway had not given yet."""
    return Kept(replace(MADE, name=f"gw-half-{number:02}"), KEY, None)


def test_a_tunnel_that_several_take_away_at_once_is_taken_down_once(tmp_path: Path) -> None:
    shop, links = workshop(tmp_path, GATEWAY)

    async def all_at_once() -> None:
        await asyncio.gather(*(shop.remove("gw-1") for _ in range(3)), shop.look(shop.gateways["gw"]))
        await shop.remove("gw-1")

    asyncio.run(all_at_once())

    assert (links.stopped, shop.made) == (["gw-1"], {})


def test_a_tunnel_is_kept_in_mind_until_its_gateway_has_let_it_go(tmp_path: Path) -> None:
    shop, _ = workshop(tmp_path, GATEWAY)

    asyncio.run(shop.remove("gw-1"))

    assert [kept.made.name for kept in recall(tmp_path / "made")] == ["gw-1"]
    assert shop.far_ends.silent.keys() == {"gw"}


def test_a_tunnel_that_leaves_is_draining(tmp_path: Path) -> None:
    shop, _ = workshop(tmp_path, GATEWAY)
    asyncio.run(shop._fleet.tend("gw-1"))
    shop.retire("gw-1", boot_time() + 30.0)

    assert shop._fleet.state("gw-1") is State.DRAINING
    assert not shop.carries("gw-1")


def test_a_tunnel_of_a_gateway_that_is_not_in_the_node_file_any_more_leaves_and_is_taken_down(tmp_path: Path) -> None:
    shop, links = workshop(tmp_path, kept=(Kept(MADE, KEY, GIVEN), half(1)))
    assert [one.leaving is not None for one in shop.made.values()] == [True]

    asyncio.run(shop.remove("gw-1"))

    assert (links.stopped, shop.made, recall(tmp_path / "made")) == (["gw-1"], {}, ())


def test_a_tunnel_goes_on_as_the_kind_that_it_was_made_as(tmp_path: Path) -> None:
    shop, _ = workshop(tmp_path, replace(GATEWAY, kind=Kind.OPENVPN))

    assert shop._fleet.kinds == {"gw-1": Kind.WIREGUARD}


def test_what_was_given_and_will_not_do_is_taken_away(tmp_path: Path) -> None:
    strange = Kept(replace(MADE, kind=Kind.OPENVPN), KEY, GIVEN)
    shop, _ = workshop(tmp_path, GATEWAY, kept=(strange,))
    asked = reached(shop)

    asyncio.run(shop.look(GATEWAY))

    assert (shop.made, asked) == ({}, ["GET /v1/tunnels", "DELETE /v1/tunnels/gw-1"])


@pytest.mark.parametrize(
    ("was", "now", "counts"),
    [
        ((Level.STRONG, ()), (Level.QUANTUM, (("secret", "yes"),)), (Level.STRONG, ())),
        ((Level.STRONG, (("to", "us"),)), (Level.ENCRYPTED, (("to", "eu"),)), (Level.ENCRYPTED, ())),
        ((Level.STRONG, (("to", "us"),)), (Level.STRONG, (("to", "us"), ("a", "b"))), (Level.STRONG, (("to", "us"),))),
    ],
)
def test_a_tunnel_counts_as_what_it_was_made_as_and_as_no_more_than_its_gateway_says_now(
    tmp_path: Path,
    was: tuple[Level, Labels],
    now: tuple[Level, Labels],
    counts: tuple[Level, Labels],
) -> None:
    kept = Kept(replace(MADE, level=was[0], labels=was[1]), KEY, GIVEN)
    shop, _ = workshop(tmp_path, replace(GATEWAY, level=now[0], labels=now[1]), kept=(kept,))
    [seen] = shop._fleet.tunnels({"gw-1": 0})

    assert (seen.level, seen.labels) == counts
    assert (shop.made["gw-1"].level, shop.made["gw-1"].labels) == counts


def test_what_a_gateway_refuses_is_forgotten_at_once(tmp_path: Path) -> None:
    shop, _ = workshop(tmp_path, GATEWAY, kept=())
    asked = reached(shop, "PUT")

    async def refused() -> None:
        with pytest.raises(Fault, match="it is full"):
            await shop.make(GATEWAY, None, None)
        assert recall(tmp_path / "made") == ()
        await shop.look(GATEWAY)

    asyncio.run(refused())

    assert [one.split()[0] for one in asked] == ["PUT", "GET"]


def test_tunnels_are_renewed_before_any_is_taken_away_and_few_are_in_one_look(tmp_path: Path) -> None:
    shop, _ = workshop(tmp_path, GATEWAY, kept=(Kept(MADE, KEY, GIVEN), *(half(number) for number in range(20))))
    asked = reached(shop)

    asyncio.run(shop.look(GATEWAY))

    assert asked == [
        "POST /v1/renew",
        "GET /v1/tunnels",
        *(f"DELETE /v1/tunnels/gw-half-{number:02}" for number in range(AT_ONCE)),
    ]


def test_one_that_cannot_be_taken_away_holds_up_no_other(tmp_path: Path) -> None:
    shop, _ = workshop(tmp_path, GATEWAY, kept=(half(number) for number in range(3)))
    reached(shop, "DELETE /v1/tunnels/gw-half-00")

    async def looks() -> None:
        await shop.look(GATEWAY)
        await shop.look(GATEWAY)

    asyncio.run(looks())

    assert [kept.made.name for kept in recall(tmp_path / "made")] == ["gw-half-00"]


def test_a_renewal_that_was_not_answered_is_tried_again_at_the_next_look(tmp_path: Path) -> None:
    shop, _ = workshop(tmp_path, GATEWAY)

    async def looks() -> list[str]:
        await shop.look(GATEWAY)  # nobody answers
        refused = reached(shop, "POST")
        await shop.look(GATEWAY)
        asked = reached(shop)
        await shop.look(GATEWAY)
        await shop.look(GATEWAY)
        return refused + asked

    assert asyncio.run(looks()) == ["POST /v1/renew", "POST /v1/renew", "GET /v1/tunnels", "GET /v1/tunnels"]


def test_a_tunnel_leaves_also_where_that_cannot_be_written_down_and_it_is_written_later(tmp_path: Path) -> None:
    shop, _ = workshop(tmp_path, GATEWAY)
    asyncio.run(shop._fleet.tend("gw-1"))
    path = tmp_path / "made" / "gw-1.json"
    path.unlink()
    path.mkdir()
    shop.retire("gw-1", 1.0)
    assert not shop.carries("gw-1")
    assert shop.made["gw-1"].leaving == 1.0

    path.rmdir()
    shop.unwritten.write()

    assert [kept.made.leaving for kept in recall(tmp_path / "made")] == [1.0]


def test_a_spare_tunnel_is_given_to_nobody_where_that_cannot_be_written_down(tmp_path: Path) -> None:
    shop, _ = workshop(tmp_path, GATEWAY, kept=(Kept(replace(MADE, holder=None), KEY, GIVEN),))
    path = tmp_path / "made" / "gw-1.json"
    path.unlink()
    path.mkdir()

    with pytest.raises(Fault):
        shop.give("gw-1", Holder("vault", "ada", ""))
    assert shop.made["gw-1"].holder is None


def made(shop: Workshop, gateway: str, **answer: object) -> Made:
    """Have this gateway make a tunnel, which gives it with this answer."""
    transport = httpx.MockTransport(lambda _: httpx.Response(201, json={**ANSWER, **answer}))

    async def answered() -> Made:
        shop.far_ends.ends[gateway]._http = httpx.AsyncClient(base_url="https://192.0.2.21", transport=transport)
        return await shop.make(shop.gateways[gateway], None, None)

    return asyncio.run(answered())


def test_an_address_that_is_spoken_for_is_not_taken_from_a_gateway(tmp_path: Path) -> None:
    shop, _ = workshop(tmp_path, GATEWAY, spoken_for=("10.0.0.53", "fd00::53"))

    with pytest.raises(Fault, match="no usable address fd00::53: this node knows it elsewhere") as fault:
        made(shop, "gw", addresses=["10.0.0.3", "fd00::53"])
    assert (fault.value.label, shop.made.keys()) == ("gateway-answer", {"gw-1"})
    assert made(shop, "gw", addresses=["10.0.0.3"]).gateway == "gw"


def test_a_gateway_does_not_get_what_answers_behind_tunnels_of_another(tmp_path: Path) -> None:
    shop, _ = workshop(tmp_path, GATEWAY, replace(GATEWAY, name="gx"))

    with pytest.raises(Fault, match=r"no usable address 10\.0\.0\.1"):
        made(shop, "gx", addresses=["10.0.0.1"], probe=["10.0.0.9"])


def test_two_gateways_may_have_the_same_inner_network(tmp_path: Path) -> None:
    shop, _ = workshop(tmp_path, GATEWAY, replace(GATEWAY, name="gx"))

    assert made(shop, "gx", addresses=["10.0.0.2"], probe=["10.0.0.1"]).gateway == "gx"
