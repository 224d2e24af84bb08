"""What a keeper writes down and has made, and who waits for whom."""

import asyncio
from pathlib import Path

import pytest

from pointsman.gateway import store
from pointsman.gateway.admission import Admitted
from pointsman.gateway.grant import OPERATOR
from pointsman.model.fault import Fault
from tests.unit.gateway.fakes import Host, keeper
from tests.unit.gateway.samples import asked


def test_many_changes_of_one_node_hold_up_no_other(tmp_path: Path) -> None:
    async def settled_before(theirs: str) -> int:
        host = Host()
        kept = keeper(host, tmp_path)
        await kept.start()
        await kept.grant(asked("a", "beta", 99))
        many = [asyncio.create_task(kept.grant(asked(str(n % 3), "alpha", n % 3 + 1))) for n in range(3)]
        many += [asyncio.create_task(kept.remove(("alpha", str(n)), "alpha")) for n in range(3)]
        await asyncio.sleep(0)
        before = len(host.was)
        if theirs == "renew":
            assert await kept.renew("beta", ("a", "b", "a"), 60) == (("a",), ("b",))
        else:
            await kept.remove(("alpha", "0"), OPERATOR)
            before += 1  # its own
        found = len(host.was) - before
        await asyncio.gather(*many)
        return found

    assert asyncio.run(settled_before("renew")) <= 1
    assert asyncio.run(settled_before("remove")) <= 1


def test_the_same_request_again_prolongs_a_tunnel_without_a_look_at_the_host(tmp_path: Path) -> None:
    async def story() -> None:
        host = Host()
        kept = keeper(host, tmp_path)
        await kept.start()
        first = await kept.grant(asked(ttl=60))
        looks = len(host.was)
        again = await kept.grant(asked(ttl=60))

        assert isinstance(first, Admitted)
        assert isinstance(again, Admitted)
        assert (again.fresh, len(host.was)) == (False, looks)
        assert (again.grant.expires or 0) > (first.grant.expires or 0)
        assert store.recall(tmp_path / "grants.json", 0) == kept.state

    asyncio.run(story())


def test_the_same_request_again_is_refused_while_turns_fail(tmp_path: Path) -> None:
    async def story() -> None:
        host = Host()
        kept = keeper(host, tmp_path)
        await kept.start()
        await kept.grant(asked())
        host.says = iter([Fault("nft", "look at the guard", "no memory")])
        await kept._turn()

        with pytest.raises(Fault, match="no memory"):
            await kept.grant(asked())
        await kept._turn()
        assert isinstance(await kept.grant(asked()), Admitted)

    asyncio.run(story())


def test_the_same_request_again_is_refused_while_its_server_is_stuck(tmp_path: Path) -> None:
    async def story() -> None:
        host = Host()
        kept = keeper(host, tmp_path)
        await kept.start()
        await kept.grant(asked())
        before = kept.state
        host.says = iter(["the port is taken"])
        with pytest.raises(Fault, match="the port is taken"):
            await kept.grant(asked("b", number=2))
        host.says = iter(["the port is taken"])
        await kept._settle()

        with pytest.raises(Fault, match="the port is taken"):
            await kept.grant(asked())
        assert kept.state.grants == before.grants

    asyncio.run(story())


@pytest.mark.parametrize("failure", ["the port is taken", Fault("nft-refused", "change the guard", "no")])
def test_what_cannot_be_made_is_taken_back_from_the_host_too_and_its_address_rests(
    tmp_path: Path, failure: str | Fault
) -> None:
    async def story() -> None:
        host = Host()
        kept = keeper(host, tmp_path)
        await kept.start()
        host.says = iter([failure])
        with pytest.raises(Fault):
            await kept.grant(asked(number=1))
        assert kept.state == host.was[-1] == store.recall(tmp_path / "grants.json", 0)
        assert kept.state.grants == {}

        made = await kept.grant(asked(number=2))
        assert isinstance(made, Admitted)
        assert made.grant.addresses == ("10.71.0.3", "fd71::3")

    asyncio.run(story())


def test_what_failed_first_is_told_where_taking_back_fails_too(tmp_path: Path) -> None:
    async def story() -> None:
        host = Host()
        kept = keeper(host, tmp_path)
        await kept.start()
        host.says = iter([Fault("nft-refused", "change the guard", reason) for reason in ("first", "then")])
        with pytest.raises(Fault, match="first"):
            await kept.grant(asked())
        assert kept.state.grants == {}

    asyncio.run(story())
