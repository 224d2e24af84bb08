import math

from pointsman.model.policy import Policy
from pointsman.model.profile import Level, OnMove, Profile
from pointsman.model.tunnel import Lane
from pointsman.node.draining import drained, unfit_lanes
from tests.unit.tunnels.samples import tunnel


def lane(profile: str, tunnel: str = "a") -> Lane:
    return Lane(profile, tunnel, 1 << 20, "pm0", ("10.0.0.1",))


PROFILES = [
    Profile("kept", Level.NONE, on_move=OnMove.KEEP),
    Profile("drained", Level.NONE, drain_within=5.0),
    Profile("reset", Level.NONE, on_move=OnMove.RESET),
]


def test_what_is_on_a_lane_that_was_left_ends_when_its_profile_says() -> None:
    lanes = [lane("kept"), lane("drained"), lane("reset"), lane("gone")]

    assert drained(lanes, lanes, {}, PROFILES, (), 100.0) == {
        lane("kept"): math.inf,
        lane("drained"): 105.0,
        lane("reset"): 100.0,
        lane("gone"): 130.0,
    }


def test_the_end_stays_what_it_was_when_the_lane_was_left() -> None:
    one = lane("drained")

    assert drained([one], [one], {one: 101.0}, PROFILES, (), 100.0) == {one: 101.0}
    assert drained([one, lane("kept")], [], {one: 101.0}, PROFILES, (), 100.0) == {one: 101.0}
    assert drained([], [one], {one: 101.0}, PROFILES, (), 100.0) == {}


def test_on_what_does_not_fit_any_more_nothing_goes_on() -> None:
    kept, old = lane("kept"), lane("kept", "b")

    assert drained([kept, old], [kept], {old: math.inf}, PROFILES, [kept, old], 100.0) == {kept: 100.0, old: 100.0}


def test_a_lane_is_unfit_whose_tunnel_is_not_what_its_profile_asks_for() -> None:
    weak, strong = tunnel("weak", level=Level.ENCRYPTED), tunnel("strong")
    policy = Policy("p", "1", (), (), (Profile("kept", Level.STRONG),), (), None)
    lanes = [lane("kept", "weak"), lane("kept", "strong"), lane("kept", "elsewhere"), lane("gone", "weak")]

    assert unfit_lanes(lanes, policy, [weak, strong]) == {lanes[0]}
