"""What is due for tunnels of single holders: one thing at a time, and nothing twice."""

from dataclasses import replace
from typing import Any

import pytest

from pointsman.model.gateway import Gateway, Holder, Made
from pointsman.model.profile import Holding, Level, OnFailure, Profile, Who
from pointsman.model.tunnel import Kind, State
from pointsman.tunnels import demand
from pointsman.tunnels.demand import Order, Remove, Replace, Retire, Spare, due

ADA = Holder("vault", "ada", "claim sub")
GATEWAY = Gateway("gw", "192.0.2.21", 7443, Kind.WIREGUARD, Level.STRONG, (), "", "", "", least=0, most=4)
HOLDING = Holding(Who.USER, idle=600, rotate=3600)
VAULT = Profile("vault", Level.STRONG, holding=HOLDING)
HELD = Made("gw-1", "gw", Kind.WIREGUARD, Level.STRONG, (), ADA, since=100, used=100)
SPARE = replace(HELD, name="gw-0", holder=None)


def orders(
    *made: Made,
    now: float = 200,
    state: State = State.UP,
    profile: Profile = VAULT,
    gateway: Gateway = GATEWAY,
    taken: tuple[float, ...] = (),
    failed: float | None = None,
    unfit: str = "",
) -> tuple[Order, ...]:
    states = {one.name: state for one in made}
    tried = {} if failed is None else {"gw-1": failed, "gw": failed}
    return due(made, states, (profile,), (gateway,), {"gw": taken}, tried, {"gw-1": unfit}, now)


def test_a_tunnel_in_use_is_left_alone() -> None:
    assert orders(HELD) == ()


def test_an_idle_tunnel_finishes_what_has_just_begun_and_is_removed_when_it_has_drained() -> None:
    assert orders(HELD, now=701) == (Retire("gw-1", "it carried nothing for long enough"),)
    assert orders(replace(HELD, leaving=730), now=729) == ()
    assert orders(replace(HELD, leaving=730), now=730) == (Remove("gw-1"),)
    assert orders(replace(HELD, leaving=730), now=710, state=State.FAILED) == (Remove("gw-1"),)


def test_old_keys_are_replaced_and_not_again_at_once_where_that_failed() -> None:
    old = replace(HELD, used=3699)

    assert orders(old, now=3699) == ()
    assert orders(old, now=3701) == (Replace("gw-1", "its keys are old"),)
    assert orders(old, now=3701, failed=3700) == ()
    assert orders(old, now=3706, failed=3700) == (Replace("gw-1", "its keys are old"),)


def test_keys_that_are_never_rotated_stay() -> None:
    kept = replace(VAULT, holding=replace(HOLDING, rotate=0))

    assert orders(replace(HELD, used=1_000_000), now=1_000_000, profile=kept) == ()


def test_a_dead_tunnel_is_replaced_only_where_the_profile_goes_on_to_the_next() -> None:
    goes_on = replace(VAULT, on_failure=OnFailure.NEXT)

    assert orders(HELD, state=State.FAILED) == ()
    assert orders(HELD, state=State.FAILED, profile=goes_on) == (Replace("gw-1", "it is down"),)


def test_a_tunnel_whose_profile_is_gone_leaves() -> None:
    assert orders(HELD, profile=Profile("vault", Level.STRONG)) == (
        Retire("gw-1", "its profile has no holders any more"),
    )


def test_a_tunnel_that_is_not_what_its_profile_asks_for_any_more_has_no_time_to_drain() -> None:
    assert orders(HELD, unfit="gives `strong`, needed is `quantum`") == (
        Retire("gw-1", "gives `strong`, needed is `quantum`", 0),
    )
    assert orders(replace(HELD, leaving=730), now=729, unfit="so it was told before") == ()


@pytest.mark.parametrize("now", [{"kind": Kind.OPENVPN}, {"level": Level.QUANTUM}, {"labels": (("to", "us"),)}])
def test_a_spare_tunnel_that_is_not_what_its_gateway_makes_now_leaves(now: dict[str, Any]) -> None:
    assert orders(SPARE, gateway=replace(GATEWAY, **now)) == (Retire("gw-0", "its gateway makes other tunnels now", 0),)


def test_a_tunnel_of_a_kind_that_its_gateway_makes_no_more_is_replaced() -> None:
    other = replace(GATEWAY, kind=Kind.OPENVPN)

    assert orders(HELD, gateway=other) == (Replace("gw-1", "its gateway makes other tunnels now"),)
    assert orders(HELD, gateway=other, failed=199) == ()


def test_spares_follow_demand_within_bounds() -> None:
    some = replace(GATEWAY, least=1)
    spares = [replace(SPARE, name=f"gw-{number}") for number in range(6)]

    assert orders(gateway=some) == (Spare("gw"),)
    assert orders(spares[0], gateway=some) == ()
    assert orders(spares[0], gateway=some, taken=(150, 190)) == (Spare("gw"),)
    assert orders(*spares[:4], gateway=some, taken=tuple(range(150, 199))) == ()
    assert orders(*spares[:3], gateway=some, now=161, taken=(100,)) == (
        Retire("gw-0", "nobody needs it", 0),
        Retire("gw-1", "nobody needs it", 0),
    )


def test_without_holders_nothing_is_kept_ready() -> None:
    some, plain = replace(GATEWAY, least=1), Profile("vault", Level.STRONG)
    spare = replace(SPARE, since=199, used=199)

    assert orders(gateway=some, profile=plain) == ()
    assert orders(spare, gateway=some, profile=plain) == (Retire("gw-0", "nobody needs it", 0),)


def test_a_gateway_that_could_make_no_spare_is_not_asked_again_at_once() -> None:
    assert orders(gateway=replace(GATEWAY, least=1), failed=199) == ()


def test_a_replacement_takes_over_when_it_carries() -> None:
    newer = replace(HELD, name="gw-2", since=200)

    assert demand.current((HELD, newer), ADA, lambda name: name == "gw-1") == HELD
    assert demand.current((HELD, newer), ADA, lambda _: True) == newer
    assert demand.current((HELD, newer), ADA, lambda _: False) == HELD
    assert demand.current((replace(HELD, leaving=1.0),), ADA, lambda _: True) is None


def test_of_two_tunnels_of_one_holder_the_one_that_takes_its_requests_stays() -> None:
    newer = replace(HELD, name="gw-2", since=150, used=150)
    twins = {"gw-1": State.UP, "gw-2": State.UP}

    def left(**changed: State) -> tuple[Order, ...]:
        return due((HELD, newer), twins | changed, (VAULT,), (GATEWAY,), {}, {}, {}, 200)

    assert left() == (Retire("gw-1", "a newer one has taken its place"),)
    assert left(**{"gw-2": State.PROVISIONING}) == ()
    assert left(**{"gw-2": State.FAILED}) == (Retire("gw-2", "it does not come up", 0),)


def test_a_tunnel_that_leaves_or_will_not_do_takes_nobodys_place() -> None:
    newer = replace(HELD, name="gw-2", since=150, used=150)
    states = {"gw-1": State.UP, "gw-2": State.UP}

    assert orders(HELD, replace(newer, leaving=230)) == ()
    assert orders(HELD, replace(newer, holder=replace(ADA, key="bob"))) == ()
    assert due((HELD, newer), states, (VAULT,), (GATEWAY,), {}, {}, {"gw-2": "level"}, 200) == (
        Retire("gw-2", "level", 0),
    )
