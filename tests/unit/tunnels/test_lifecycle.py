from dataclasses import replace
from pathlib import Path

import pytest

from pointsman.model.tunnel import State
from pointsman.tunnels.lifecycle import TRANSITIONS, Event, Life, diagram, due, forgotten, moved, observed, pause
from pointsman.tunnels.port import Observation


def seen(state: State, why: str = "") -> Observation:
    return Observation(state, "pm0", why=why)


def test_a_tunnel_is_up_only_after_something_was_seen_to_carry() -> None:
    assert {
        state for (state, event), to in TRANSITIONS.items() if to is State.UP and event is not Event.CARRIES
    } == set()
    assert observed(Life(), seen(State.UP), 5.0) == Life(State.UP, 5.0)


def test_a_gateway_that_does_not_answer_in_time_is_a_failure() -> None:
    starting = observed(Life(), seen(State.PROVISIONING, "no answer yet"), 1.0)

    assert starting == Life(State.PROVISIONING, 1.0, 0, "no answer yet")
    assert observed(starting, seen(State.PROVISIONING), 20.9).state is State.PROVISIONING
    assert observed(starting, seen(State.PROVISIONING), 21.0) == Life(State.FAILED, 21.0, 1, "no answer yet")


@pytest.mark.parametrize("state", [State.PROVISIONING, State.FAILED, State.GONE])
def test_a_tunnel_that_was_up_and_is_not_has_failed_at_once(state: State) -> None:
    assert observed(Life(State.UP), seen(state), 9.0).state is State.FAILED


def test_a_tunnel_that_carries_again_has_forgotten_its_failures() -> None:
    failed = Life(State.FAILED, 1.0, 4, "no answer")

    assert observed(failed, seen(State.UP), 2.0) == Life(State.UP, 2.0)


def test_a_tunnel_that_suffers_carries_on_and_says_why_until_it_is_well_again() -> None:
    suffers = observed(Life(State.UP), seen(State.DEGRADED, "loses 20 %"), 2.0)

    assert suffers == Life(State.DEGRADED, 2.0, 0, "loses 20 %")
    assert suffers.state.carries
    assert observed(suffers, seen(State.DEGRADED, "loses 30 %"), 3.0) == replace(suffers, why="loses 30 %")
    assert observed(suffers, seen(State.UP), 4.0) == Life(State.UP, 4.0)
    assert observed(suffers, seen(State.PROVISIONING), 4.0).state is State.FAILED


@pytest.mark.parametrize("state", [State.PROVISIONING, State.FAILED, State.GONE])
def test_a_tunnel_that_dies_while_it_drains_is_gone_at_once(state: State) -> None:
    assert observed(Life(State.DRAINING), seen(state), 9.0).state is State.GONE
    assert observed(Life(State.DRAINING), seen(State.UP), 9.0).state is State.DRAINING


@pytest.mark.parametrize("state", [State.DRAINING, State.GONE])
def test_nothing_brings_back_a_tunnel_that_is_on_its_way_out(state: State) -> None:
    assert {moved(Life(state), event, 1.0).state for event in Event} <= {state, State.GONE}
    assert not due(Life(state), alive=False, now=1.0)


def test_the_diagram_in_the_docs_is_the_table() -> None:
    page = Path(__file__).parents[3] / "docs" / "operations.md"

    assert f"```mermaid\n{diagram()}```\n" in page.read_text()
    assert all(f"{state} --> {after}: " in diagram() for (state, _), after in TRANSITIONS.items())


def test_the_docs_say_of_every_state_what_it_means_and_what_to_do() -> None:
    page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    table = page.partition("| state of a tunnel | what it means | what to do |\n|---|---|---|\n")[2].partition("\n\n")[
        0
    ]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]

    assert {row[0].strip("`"): (len(row), all(row)) for row in rows} == dict.fromkeys(map(str, State), (3, True))


def test_what_has_no_daemon_is_started_with_growing_pauses() -> None:
    failed = Life(State.FAILED, 10.0, 3)

    assert due(Life(), alive=False, now=0.0)
    assert [due(failed, alive=False, now=now) for now in (11.9, 12.0)] == [False, True]
    assert not due(failed, alive=True, now=99.0)
    assert not due(Life(State.UP), alive=True, now=0.0)
    assert [pause(failures) for failures in (0, 1, 2, 3, 99)] == [0.0, 0.5, 1.0, 2.0, 30.0]


def test_a_gateway_is_greeted_anew_where_a_session_stands_and_nothing_comes_through_it() -> None:
    failed, up = Life(State.FAILED, 10.0), seen(State.UP)

    assert [forgotten(failed, up, 0.0, now) for now in (14.9, 15.0)] == [False, True]
    assert [forgotten(failed, up, 15.0, now) for now in (19.9, 20.0)] == [False, True]
    assert not forgotten(failed, seen(State.FAILED), 0.0, 99.0)
    assert not any(forgotten(Life(state, 10.0), up, 0.0, 99.0) for state in State if state is not State.FAILED)
