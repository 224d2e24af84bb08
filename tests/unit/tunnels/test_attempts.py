from dataclasses import replace

import pytest

from pointsman.model.tunnel import State
from pointsman.tunnels.attempts import DOUBTED, ENOUGH, WINDOW, Attempts, answered, doubtful, failed, judged, over
from pointsman.tunnels.port import Observation

UP = Observation(State.UP, "pm0")
LONG_AGO = 0.0
NOTHING = Attempts()


def told(*times: float, known: Attempts = NOTHING) -> Attempts:
    """Return what is known after attempts that failed at these times."""
    for now in times:
        known = failed(known, now)
    return known


SILENT = told(100.0, 103.0, 106.0, 109.0, 112.0)


def test_a_tunnel_is_doubted_once_enough_attempts_in_a_row_failed() -> None:
    assert not doubtful(told(100.0, 103.0, 106.0, 109.0), LONG_AGO, 109.0)
    assert doubtful(SILENT, LONG_AGO, 112.0)
    assert len(SILENT.failed) == ENOUGH


def test_failures_that_are_far_apart_say_nothing() -> None:
    assert not doubtful(told(100.0, 104.0, 108.0, 112.0, 100.0 + WINDOW + 0.1), LONG_AGO, 116.0)
    assert doubtful(told(0.0, 100.0, 100.0, 100.0, 100.0, 100.0 + WINDOW), LONG_AGO, 116.0)


def test_one_dead_origin_does_not_condemn_a_tunnel_that_others_answer_through() -> None:
    alive = answered(Attempts(), 100.0)
    for second in range(101, 200):
        alive = failed(alive, float(second))
        if second % 10 == 0:
            alive = answered(alive, float(second))
        assert not doubtful(alive, LONG_AGO, float(second))
    assert doubtful(told(*map(float, range(200, 200 + int(WINDOW))), known=alive), LONG_AGO, 215.0)


def test_one_answer_ends_the_doubt_at_once_also_one_that_comes_while_others_fail() -> None:
    assert not doubtful(answered(SILENT, 113.0), LONG_AGO, 113.0)
    assert not doubtful(answered(SILENT, 112.0), LONG_AGO, 112.0)
    assert not doubtful(told(113.0, 114.0, known=answered(SILENT, 112.5)), LONG_AGO, 114.0)
    assert doubtful(answered(SILENT, 112.0 - WINDOW - 1), LONG_AGO, 112.0)


def test_a_doubted_tunnel_that_nobody_uses_is_tried_again_after_a_while() -> None:
    assert doubtful(SILENT, LONG_AGO, 112.0 + DOUBTED - 0.1)
    assert not doubtful(SILENT, LONG_AGO, 112.0 + DOUBTED)


def test_a_tunnel_that_goes_on_failing_stays_doubted_without_a_gap() -> None:
    known = SILENT
    for now in range(115, 300, 3):
        known = failed(known, float(now))
        assert doubtful(known, LONG_AGO, now + 2.9)


def test_a_straggler_neither_ends_the_doubt_nor_prolongs_it() -> None:
    late = told(130.0, known=SILENT)

    assert doubtful(late, LONG_AGO, 130.0)
    assert not doubtful(late, LONG_AGO, 112.0 + DOUBTED)


def test_a_tunnel_that_came_up_again_starts_afresh() -> None:
    assert not doubtful(SILENT, 112.5, 113.0)
    assert not doubtful(SILENT, 112.0, 113.0)


def test_attempts_make_an_observation_worse_and_never_better() -> None:
    why = "5 attempts to connect failed within 15 s, none was answered"
    assert judged(UP, SILENT, LONG_AGO, 113.0) == replace(UP, state=State.DEGRADED, why=why)
    assert judged(UP, SILENT, LONG_AGO, 120.0) == judged(UP, SILENT, LONG_AGO, 113.0)
    assert judged(UP, answered(SILENT, 113.0), LONG_AGO, 113.0) == UP
    for state in (State.PROVISIONING, State.FAILED, State.GONE):
        assert judged(replace(UP, state=state), SILENT, LONG_AGO, 113.0).state is state


@pytest.mark.parametrize("known", [SILENT, Attempts((112.0,)), Attempts(answered=112.0)])
def test_what_is_old_is_over(known: Attempts) -> None:
    assert not over(known, 112.0 + WINDOW + DOUBTED)
    assert over(known, 112.1 + WINDOW + DOUBTED)
