"""Who gets a tunnel of a gateway, while somebody takes it back."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from pointsman.model.gateway import Bounds, Gateway
from pointsman.model.profile import Holding, Level, OnFailure, Who
from pointsman.model.tunnel import Kind
from pointsman.node.asks import Answer, Granted, Refused
from pointsman.node.fleet import Fleet
from pointsman.node.provision import Provision
from pointsman.node.workshop import Workshop
from pointsman.system.log import Log
from pointsman.tunnels.pool import Pool
from tests.unit.node.test_holdings import POLICY, PROFILES
from tests.unit.node.test_workshop import KEY, Links, settled
from tests.unit.system.test_gateways import GIVEN

VAULT, EACH_USER = PROFILES[0], Holding(Who.USER)
MADE = {**GIVEN, "public_key": KEY}
Answering = Callable[[httpx.Request], Coroutine[Any, Any, httpx.Response]]


def provided(folder: Path, settle: Callable[[], Awaitable[None]], answer: Answering) -> Provision:
    """What gives tunnels of one gateway, which answers like this; `settle` puts them in force."""
    gateway = Gateway("gw", "192.0.2.21", 7443, Kind.WIREGUARD, Level.STRONG, (), "", "", "")
    fleet = Fleet(Pool(()), {Kind.WIREGUARD: Links()}, folder, 0, dict, Log())
    shop = Workshop([gateway], folder / "made", fleet, settle, Log())
    transport = httpx.MockTransport(answer)
    shop._asked["gw"]._http = httpx.AsyncClient(base_url="https://192.0.2.21", transport=transport)
    return Provision(shop, Bounds(), Log(), settled, fleet.state, lambda: POLICY)


def held(folder: Path, ban: float) -> Answer:
    """Hold a request of a holder whose lease is revoked when its gateway was asked and has not answered yet."""

    async def all_of_it() -> Answer:
        asked, revoked = asyncio.Event(), asyncio.Event()

        async def answer(_: httpx.Request) -> httpx.Response:
            asked.set()
            await revoked.wait()
            return httpx.Response(201, json=MADE)

        provision = provided(folder, settled, answer)
        holding = asyncio.create_task(provision.hold(VAULT, EACH_USER, "ada"))
        await asked.wait()
        assert not await provision.revoke("vault", "ada", ban)
        revoked.set()
        return await holding

    return asyncio.run(all_of_it())


def test_a_holder_who_is_banned_while_its_tunnel_is_made_does_not_get_it(tmp_path: Path) -> None:
    assert held(tmp_path, ban=60.0) == Refused("profile `vault`: its lease was revoked")


def test_a_holder_without_a_ban_gets_the_tunnel_that_is_being_made(tmp_path: Path) -> None:
    assert isinstance(held(tmp_path, ban=0.0), Granted)


def test_a_request_waits_for_the_tunnel_that_replaces_a_dead_one(tmp_path: Path) -> None:
    goes_on = replace(VAULT, on_failure=OnFailure.NEXT)

    async def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(201, json=MADE)

    async def all_of_it() -> tuple[Answer, Answer, Answer]:
        provision = provided(tmp_path, settled, answer)
        first = await provision.hold(goes_on, EACH_USER, "ada")
        [lease] = provision.holdings.leases
        provision._workshop._fleet.lose(lease.tunnel, "nobody answers")
        return first, await provision.hold(VAULT, EACH_USER, "ada"), await provision.hold(goes_on, EACH_USER, "ada")

    first, blocked, second = asyncio.run(all_of_it())

    assert blocked == Refused("profile `vault`: its tunnel is not up")
    assert isinstance(second, Granted)
    assert second != first


def test_a_bug_in_what_was_begun_comes_out_in_the_next_turn(tmp_path: Path) -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    async def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(201, json=MADE if request.method == "PUT" else [])

    async def turns() -> None:
        provision = provided(tmp_path, broken, answer)
        provision.turn()
        await asyncio.wait(provision._working.values(), timeout=10)
        provision.turn()

    with pytest.raises(ZeroDivisionError):
        asyncio.run(turns())
