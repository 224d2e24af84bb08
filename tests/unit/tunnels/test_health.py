from dataclasses import replace

from pointsman.model.profile import Health
from pointsman.model.tunnel import State
from pointsman.tunnels.health import Pulse, answered, judged, missed, patience, strictest
from pointsman.tunnels.port import Observation

LIMITS = Health(down=3, up=2, loss=0.2, latency=0.1)
UP = Observation(State.UP, "pm0")


def told(pulse: Pulse, *latencies: float | None) -> Pulse:
    """Return the pulse after these answers, None being a lost one."""
    for latency in latencies:
        pulse = missed(pulse, LIMITS) if latency is None else answered(pulse, latency, LIMITS)
    return pulse


def test_a_path_is_dead_after_losses_in_a_row_and_alive_after_answers_in_a_row() -> None:
    assert not told(Pulse(), 0.01, None, None, 0.01, None, None).dead
    dead = told(Pulse(), 0.01, None, None, None)
    assert dead.dead
    assert told(dead, 0.01).dead
    assert told(dead, 0.01, None, 0.01).dead
    assert not told(dead, 0.01, 0.01).dead


def test_an_answer_that_comes_late_was_lost_but_shows_that_the_path_lives() -> None:
    late = answered(told(Pulse(), None, None), 0.5, LIMITS, late=True)

    assert late.loss == 1.0
    assert not told(late, None, None).dead


def test_latency_and_its_variation_are_smoothed_as_rfc_6298_and_jitter_as_rfc_3550_say() -> None:
    first = told(Pulse(), 0.080)
    second = told(first, 0.096)

    assert (first.latency, first.variation, first.jitter) == (0.080, 0.040, 0.0)
    assert second.latency is not None
    assert abs(second.latency - (0.080 * 7 / 8 + 0.096 / 8)) < 1e-9
    assert abs(second.variation - (0.040 * 3 / 4 + 0.016 / 4)) < 1e-9
    assert abs(second.jitter - 0.016 / 16) < 1e-9


def test_an_answer_is_awaited_as_long_as_the_path_needs_but_no_longer_than_a_second() -> None:
    assert patience(Pulse(), LIMITS) == LIMITS.interval
    assert patience(Pulse(latency=0.15, variation=0.05), LIMITS) == 0.35
    assert patience(Pulse(latency=2.0), LIMITS) == 1.0


def test_a_path_suffers_when_it_loses_too_much_and_is_well_only_when_it_clearly_is() -> None:
    alternating = [None, 0.01, 0.01] * 5
    poor = told(Pulse(), *alternating)
    assert poor.poor
    assert not told(Pulse(), *alternating[:6]).poor  # too few to tell
    assert told(poor, *[0.01] * 20).poor  # 5 of 35: less than the limit, more than half of it
    assert not told(poor, *[0.01] * 40).poor


def test_a_path_suffers_when_it_takes_too_long() -> None:
    slow = told(Pulse(), *[0.2] * 20)

    assert slow.poor
    assert judged(UP, slow, LIMITS) == replace(
        UP, state=State.DEGRADED, why="loses more than 20% of the probes, or takes more than 100 ms"
    )
    assert not told(slow, *[0.01] * 40).poor
    assert not answered(Pulse(), 9.0, Health()).poor


def test_probes_make_an_observation_worse_and_never_better() -> None:
    dead = told(Pulse(), None, None, None)

    assert judged(UP, dead, LIMITS) == replace(UP, state=State.PROVISIONING, why="3 probes in a row had no answer")
    assert judged(UP, Pulse(), LIMITS) == UP
    for state in (State.PROVISIONING, State.FAILED, State.GONE):
        assert judged(replace(UP, state=state), told(Pulse(), 0.01), LIMITS).state is state


def test_one_tunnel_for_several_profiles_is_held_to_the_strictest() -> None:
    assert strictest([]) == Health()
    assert strictest([Health(1.0, 2, 3, 0.5), Health(0.2, 4, 9, 0.1, 0.3), Health(2.0, 9, 1, 0.3, 0.2)]) == Health(
        0.2, 2, 9, 0.1, 0.2
    )
