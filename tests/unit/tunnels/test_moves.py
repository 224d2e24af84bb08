import math
from dataclasses import replace

import pytest

from pointsman.model.profile import Choose, Level, OnFailure, Profile, Selector
from pointsman.model.tunnel import State, Tunnel
from pointsman.tunnels.moves import CALM, Standing, resting, standings, well_since
from tests.unit.tunnels.samples import tunnel

PROFILE = Profile(
    "p",
    Level.STRONG,
    Selector(names=("a", "b")),
    on_failure=OnFailure.NEXT,
    choose=Choose.ORDERED,
    fail_back=10.0,
)
A, B = tunnel("a"), tunnel("b")
DEAD = replace(A, state=State.FAILED)
CALMED = 1000.0 + CALM


def after(
    standing: Standing | None,
    *steps: tuple[float, tuple[Tunnel, ...]],
    profile: Profile = PROFILE,
    latency: dict[str, float] | None = None,
) -> list[str]:
    """Return the tunnel after each step: a time, and the tunnels as they are then."""
    before = {} if standing is None else {"p": standing}
    found = []
    for now, tunnels in steps:
        before = standings([profile], tunnels, (), latency or {}, before, now)
        found.append(before["p"].tunnel)
    return found


def test_a_dead_tunnel_is_left_at_once_and_one_that_is_back_is_taken_when_it_has_been_well_for_long_enough() -> None:
    assert after(
        Standing("a", 0.0),
        (1000.0, (DEAD, B)),
        (CALMED + 0.0, (A, B)),
        (CALMED + 9.9, (A, B)),
        (CALMED + 10.0, (A, B)),
    ) == ["b", "b", "b", "a"]


def test_what_fails_again_has_to_be_well_for_as_long_again() -> None:
    assert after(
        Standing("b", 0.0),
        (1000.0, (A, B)),
        (1009.0, (DEAD, B)),
        (1010.0, (A, B)),
        (1019.0, (A, B)),
        (1020.0, (A, B)),
    ) == ["b", "b", "b", "b", "a"]


def test_tunnels_that_flap_move_a_profile_once_in_a_while_unless_its_own_is_dead() -> None:
    hasty = replace(PROFILE, fail_back=0.0)
    steps = [(1000.0 + second, (DEAD if second % 2 else A, B)) for second in range(60)]

    names = after(Standing("a", 0.0), *steps, profile=hasty)

    moves = [place for place in range(1, 60) if names[place] != names[place - 1]]
    assert moves == [1, 32, 33]  # left dead, back after 30 s of calm, left dead


def test_never_means_never() -> None:
    forever = replace(PROFILE, fail_back=None)

    assert after(Standing("b", 0.0), (1e3, (A, B)), (1e9, (A, B)), profile=forever) == ["b", "b"]


def test_a_degraded_tunnel_is_left_for_one_that_is_up_but_not_more_often_than_that() -> None:
    poor = replace(A, state=State.DEGRADED)

    assert after(Standing("a", 980.0), (1000.0, (poor, B)), (1010.0, (poor, B))) == ["a", "b"]


@pytest.mark.parametrize(("rival", "moves"), [(0.079, True), (0.081, False)])
def test_a_faster_tunnel_is_taken_when_it_is_clearly_faster_for_a_while(rival: float, moves: bool) -> None:
    fastest = replace(PROFILE, choose=Choose.LEAST_LATENCY)
    latency = {"a": 0.1, "b": rival}

    assert after(
        Standing("a", 0.0), (1000.0, (A, B)), (1009.9, (A, B)), (1010.0, (A, B)), profile=fastest, latency=latency
    ) == ["a", "a", "b" if moves else "a"]


def test_where_nothing_carries_a_profile_stays_where_it_was() -> None:
    assert after(Standing("b", 0.0), (1000.0, (DEAD, replace(B, state=State.FAILED)))) == ["b"]


def test_a_tunnel_shares_again_when_it_has_been_well_for_long_enough_and_the_first_time_at_once() -> None:
    profiles = [
        Profile(name, Level.STRONG, on_failure=OnFailure.NEXT, choose=Choose.SPREAD, fail_back=back)
        for name, back in (("soon", 10.0), ("never", None))
    ]
    ill, well = tunnel("a", state=State.DEGRADED), tunnel("a")
    since = well_since([ill, tunnel("b")], {}, 0.0)
    assert since == {"b": -math.inf}

    since = well_since([well], well_since([ill], well_since([well], since, 1.0), 2.0), 3.0)
    assert since == {"a": 3.0, "b": -math.inf}
    assert resting(profiles, since, 12.0) == {"soon": {"a"}, "never": {"a"}}
    assert resting(profiles, well_since([well], since, 13.0), 13.0) == {"soon": frozenset(), "never": {"a"}}
    assert resting(profiles, well_since([ill], since, 14.0), 99.0)["soon"] == {"a"}
    assert resting([Profile("alone", Level.STRONG)], since, 4.0) == {}
