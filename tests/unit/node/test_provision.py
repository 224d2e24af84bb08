"""Who gets a tunnel of a gateway, while somebody takes it back."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from pointsman.model.fault import Fault
from pointsman.model.gateway import Bounds, Gateway, Holder
from pointsman.model.policy import Policy
from pointsman.model.profile import Holding, Level, OnFailure, Selector, Who
from pointsman.model.tunnel import Kind, State
from pointsman.node.asks import Answer, Ask, Granted, Refused
from pointsman.node.fleet import Fleet
from pointsman.node.giving import Gave
from pointsman.node.holdings import Holdings, source_of
from pointsman.node.provision import Provision
from pointsman.node.workshop import Workshop
from pointsman.system.clock import boot_time
from pointsman.system.log import Log
from pointsman.tunnels import demand
from pointsman.tunnels.pool import Pool
from tests.unit.node.test_holdings import POLICY, PROFILES
from tests.unit.node.test_workshop import KEY, Links, settled
from tests.unit.system.test_gateways import GIVEN

VAULT, EACH_USER = PROFILES[0], Holding(Who.USER)
ADA = Holder("vault", "ada", source_of(EACH_USER, POLICY))
MADE = {**GIVEN, "public_key": KEY}
Answering = Callable[[httpx.Request], Coroutine[Any, Any, httpx.Response]]


def provided(
    folder: Path,
    settle: Callable[[], Awaitable[None]],
    answer: Answering,
    policy: Callable[[], Policy] = lambda: POLICY,
    in_force: Callable[[str], bool] = lambda lane: True,
) -> Provision:
    """What gives tunnels of one gateway, which answers like this; `settle` puts them in force."""
    gateway = Gateway("gw", "192.0.2.21", 7443, Kind.WIREGUARD, Level.STRONG, (), "", "", "")
    fleet = Fleet(Pool(()), {Kind.WIREGUARD: Links()}, folder, 0, dict, Log())
    shop = Workshop([gateway], folder / "made", fleet, settle, Log())
    transport = httpx.MockTransport(answer)
    shop.far_ends.ends["gw"]._http = httpx.AsyncClient(base_url="https://192.0.2.21", transport=transport)
    return Provision(shop, Bounds(), Log(), settle, fleet.state, policy, in_force)


def held(folder: Path, ban: float) -> Answer:
    """Hold a request of a holder whose lease is revoked when its gateway was asked and has not answered yet."""

    async def all_of_it() -> Answer:
        asked, revoked = asyncio.Event(), asyncio.Event()

        async def answer(_: httpx.Request) -> httpx.Response:
            asked.set()
            await revoked.wait()
            return httpx.Response(201, json=MADE)

        provision = provided(folder, settled, answer)
        holding = asyncio.create_task(provision.hold(VAULT, EACH_USER, ADA))
        await asked.wait()
        assert not await provision.revoke("vault", "ada", ban)
        revoked.set()
        return await holding

    return asyncio.run(all_of_it())


def test_a_holder_who_is_banned_while_its_tunnel_is_made_does_not_get_it(tmp_path: Path) -> None:
    assert held(tmp_path, ban=60.0) == Refused("profile `vault`: its lease was revoked")


def test_a_holder_without_a_ban_gets_the_tunnel_that_is_being_made(tmp_path: Path) -> None:
    assert isinstance(held(tmp_path, ban=0.0), Granted)


def test_what_a_revoked_tunnel_carries_is_not_left_to_drain(tmp_path: Path) -> None:
    states: list[State] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(201, json=MADE) if request.method == "PUT" else httpx.Response(204)

    async def all_of_it() -> bool:
        async def settle() -> None:
            states.extend(fleet.state(lease) for lease in held)

        held: list[str] = []
        provision = provided(tmp_path, settle, answer)
        fleet = provision._workshop._fleet
        await provision.hold(VAULT, EACH_USER, ADA)
        held += [lease.tunnel for lease in provision.holdings.leases]
        return await provision.revoke("vault", "ada", 0.0)

    assert (asyncio.run(all_of_it()), states) == (True, [State.GONE])


def test_a_request_waits_for_the_tunnel_that_replaces_a_dead_one(tmp_path: Path) -> None:
    goes_on = replace(VAULT, on_failure=OnFailure.NEXT)

    async def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(201, json=MADE)

    async def all_of_it() -> tuple[Answer, Answer, Answer]:
        provision = provided(tmp_path, settled, answer)
        first = await provision.hold(goes_on, EACH_USER, ADA)
        [lease] = provision.holdings.leases
        provision._workshop._fleet.lose(lease.tunnel, "nobody answers")
        return first, await provision.hold(VAULT, EACH_USER, ADA), await provision.hold(goes_on, EACH_USER, ADA)

    first, blocked, second = asyncio.run(all_of_it())

    assert blocked == Refused("profile `vault`: its tunnel is not up")
    assert isinstance(second, Granted)
    assert second != first


def test_an_ask_waits_for_none_of_the_agents_own_threads(tmp_path: Path) -> None:
    async def silent(_: httpx.Request) -> httpx.Response:
        return httpx.Response(503)

    async def all_of_it() -> Answer:
        freed = threading.Event()
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        busy = asyncio.create_task(asyncio.to_thread(freed.wait, 10))
        await asyncio.sleep(0)
        try:
            ask = Ask("some-rule", "vault", {}, ("192.0.2.10", 40000), ("198.51.100.80", 80))
            return await asyncio.wait_for(provided(tmp_path, settled, silent).answer(ask), 5)
        finally:
            freed.set()
            await busy

    assert asyncio.run(all_of_it()) == Refused("profile `vault`: nobody is known whose tunnel it could be")


def test_a_bug_in_what_was_begun_comes_out_in_the_next_turn(tmp_path: Path) -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    async def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(201, json=MADE if request.method == "PUT" else [])

    async def turns() -> None:
        provision = provided(tmp_path, broken, answer)
        provision.turn()
        await asyncio.wait(provision._errands.tasks.values(), timeout=10)
        provision.turn()

    with pytest.raises(ZeroDivisionError):
        asyncio.run(turns())


def test_what_is_in_the_making_when_all_ends_is_taken_away_as_well(tmp_path: Path) -> None:
    async def all_of_it() -> list[str]:
        asked, told = asyncio.Event(), []

        async def answer(request: httpx.Request) -> httpx.Response:
            told.append(request.method)
            if request.method == "PUT":
                asked.set()
                await asyncio.Event().wait()
            return httpx.Response(204)

        provision = provided(tmp_path, settled, answer)
        holding = asyncio.create_task(provision.hold(VAULT, EACH_USER, ADA))
        await asked.wait()
        assert await provision.stop() == ()
        holding.cancel()
        return told

    assert asyncio.run(all_of_it()) == ["PUT", "DELETE"]


@pytest.mark.parametrize(("there", "settles"), [(True, 0), (False, 1)])
def test_a_holder_waits_until_there_is_a_lane_for_its_tunnel(tmp_path: Path, there: bool, settles: int) -> None:
    laid = {"": there}
    settled_for: list[str] = []

    async def settle() -> None:
        settled_for.append("")
        laid[""] = there or len(settled_for) > 2

    async def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(201, json=MADE)

    async def all_of_it() -> int:
        provision = provided(tmp_path, settle, answer, in_force=lambda lane: laid[""])
        await provision._workshop.make(provision._workshop.gateways["gw"], None, None)
        before = len(settled_for)
        assert isinstance(await provision.hold(VAULT, EACH_USER, ADA), Granted)
        return len(settled_for) - before

    assert asyncio.run(all_of_it()) == settles


def changed(**changes: Any) -> Policy:
    return replace(POLICY, profiles=(replace(VAULT, **changes), *PROFILES[1:]))


async def giving(request: httpx.Request) -> httpx.Response:
    return httpx.Response(201, json=MADE if request.method == "PUT" else [])


@pytest.mark.parametrize(
    "after",
    [
        changed(encryption=Level.QUANTUM),
        changed(selector=Selector((("region", "eu"),))),
        changed(holding=Holding(Who.WORKLOAD)),
    ],
)
def test_a_changed_policy_takes_away_at_once_what_is_not_what_it_asks_for(tmp_path: Path, after: Policy) -> None:
    policies = [POLICY]

    async def all_of_it() -> tuple[Holdings, State]:
        provision = provided(tmp_path, settled, giving, lambda: policies[-1])
        await provision.hold(VAULT, EACH_USER, ADA)
        [lease] = provision.holdings.leases
        policies.append(after)
        holdings = provision.holdings
        provision.turn()
        provision.turn()  # what it leaves has no time to drain
        await provision._errands.tasks[lease.tunnel]
        return holdings, provision._workshop._fleet.state(lease.tunnel)

    holdings, state = asyncio.run(all_of_it())

    assert (holdings.leases, state) == ((), State.GONE)


def test_a_holder_whose_tunnel_is_less_than_the_policy_asks_for_now_gets_no_request_through(tmp_path: Path) -> None:
    policies = [POLICY]
    more = changed(encryption=Level.QUANTUM)

    async def all_of_it() -> Answer:
        provision = provided(tmp_path, settled, giving, lambda: policies[-1])
        await provision.hold(VAULT, EACH_USER, ADA)
        policies.append(more)
        return await provision.hold(more.profiles[0], EACH_USER, ADA)

    assert asyncio.run(all_of_it()) == Refused("profile `vault`: no gateway gives it a tunnel now")


def test_a_policy_that_changes_while_a_tunnel_is_made_holds_for_it(tmp_path: Path) -> None:
    policies = [POLICY]

    async def answer(request: httpx.Request) -> httpx.Response:
        policies.append(changed(encryption=Level.QUANTUM))
        return await giving(request)

    async def all_of_it() -> Answer:
        provision = provided(tmp_path, settled, answer, lambda: policies[-1])
        return await provision.hold(VAULT, EACH_USER, ADA)

    assert asyncio.run(all_of_it()) == Refused("profile `vault`: its tunnel is not up")


def test_the_same_key_from_elsewhere_gets_another_tunnel(tmp_path: Path) -> None:
    policies = [POLICY]
    by_workload = Holding(Who.WORKLOAD)

    async def all_of_it() -> tuple[Answer, Answer]:
        provision = provided(tmp_path, settled, giving, lambda: policies[-1])
        user = await provision.hold(VAULT, EACH_USER, Holder("vault", "1000", source_of(EACH_USER, POLICY)))
        policies.append(changed(holding=by_workload))
        process = Holder("vault", "1000", source_of(by_workload, POLICY))
        return user, await provision.hold(policies[-1].profiles[0], by_workload, process)

    user, process = asyncio.run(all_of_it())

    assert isinstance(user, Granted)
    assert isinstance(process, Granted)
    assert user != process


@pytest.mark.parametrize("status", [409, 422, 507])
def test_a_gateway_that_refuses_is_not_asked_again_at_once(tmp_path: Path, status: int) -> None:
    asked: list[str] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        return httpx.Response(status, json={"problems": [{"label": "no", "what": "no"}]})

    async def all_of_it() -> list[Answer]:
        provision = provided(tmp_path, settled, answer)
        holders = [ADA, ADA, replace(ADA, key="bob"), ADA]
        return [await provision.hold(VAULT, EACH_USER, holder) for holder in holders]

    answers = asyncio.run(all_of_it())

    assert answers == [Refused("profile `vault`: no gateway gives it a tunnel now")] * 4
    assert asked == ["PUT"]
    assert list((tmp_path / "made").iterdir()) == []


def test_a_spare_tunnel_that_is_less_than_a_profile_asks_for_is_not_given_to_its_holders(tmp_path: Path) -> None:
    async def all_of_it() -> tuple[str, Answer]:
        provision = provided(tmp_path, settled, giving)
        shop = provision._workshop
        spare = await shop.make(shop.gateways["gw"], None, None)
        shop.made[spare.name] = replace(spare, level=Level.ENCRYPTED)
        return spare.name, await provision.hold(VAULT, EACH_USER, ADA)

    spare, answer = asyncio.run(all_of_it())

    assert isinstance(answer, Granted)
    assert answer != Granted(f"vault@{spare}")


def test_a_refusal_counts_for_its_profile_alone_and_not_for_long(tmp_path: Path) -> None:
    refuses = [True]

    async def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(507, json={}) if refuses.pop() else await giving(request)

    async def all_of_it() -> tuple[Answer, Answer, Answer]:
        provision = provided(tmp_path, settled, answer)
        refused = await provision.hold(VAULT, EACH_USER, ADA)
        refuses.extend([False, False])
        other = await provision._giving.give(replace(VAULT, name="other"), Holder("other", "ada", ""))
        assert isinstance(other, Gave)
        again = await provision.hold(VAULT, EACH_USER, ADA)
        provision._giving.forget(boot_time() + demand.PAUSE)
        return refused, again, await provision.hold(VAULT, EACH_USER, ADA)

    refused, again, later = asyncio.run(all_of_it())

    assert refused == again
    assert isinstance(later, Granted)


def test_a_dead_tunnel_that_could_not_be_replaced_is_not_replaced_for_every_request(tmp_path: Path) -> None:
    goes_on, asked = replace(VAULT, on_failure=OnFailure.NEXT), list[str]()

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        return await giving(request) if len(asked) == 1 else httpx.Response(507, json={})

    async def all_of_it() -> list[Answer]:
        provision = provided(tmp_path, settled, answer)
        await provision.hold(goes_on, EACH_USER, ADA)
        [lease] = provision.holdings.leases
        provision._workshop._fleet.lose(lease.tunnel, "nobody answers")
        answers = []
        for _ in range(3):
            answers.append(await provision.hold(goes_on, EACH_USER, ADA))
            provision._errands.reap()
            provision._giving.forget(boot_time() + demand.PAUSE)
        return answers

    assert asyncio.run(all_of_it()) == [Refused("profile `vault`: its tunnel is not up")] * 3
    assert asked == ["PUT", "PUT"]


def test_an_agent_without_space_goes_on_and_takes_away_what_has_to_go(tmp_path: Path) -> None:
    async def all_of_it() -> tuple[bool, bool]:
        provision = provided(tmp_path, settled, giving, lambda: policies[-1])
        await provision.hold(VAULT, EACH_USER, ADA)
        [lease] = provision.holdings.leases
        path = tmp_path / "made" / f"{lease.tunnel}.json"
        path.unlink()
        path.mkdir()
        policies.append(changed(encryption=Level.QUANTUM))
        provision.turn()
        leaving = provision._workshop.made[lease.tunnel].leaving is not None
        path.rmdir()
        provision.turn()
        return leaving, path.exists()

    policies = [POLICY]

    assert asyncio.run(all_of_it()) == (True, True)


def test_a_tunnel_that_could_not_be_put_in_force_is_nobodys(tmp_path: Path) -> None:
    async def broken() -> None:
        raise Fault("nft", "put it in force", "no memory")

    async def all_of_it() -> tuple[Answer, Holdings, list[bool]]:
        provision = provided(tmp_path, broken, giving)
        answer = await provision.hold(VAULT, EACH_USER, ADA)
        return answer, provision.holdings, [one.leaving is not None for one in provision._workshop.made.values()]

    answer, holdings, leaving = asyncio.run(all_of_it())

    assert answer == Refused("profile `vault`: no gateway gives it a tunnel now")
    assert (holdings.leases, leaving) == ((), [True])
