from typing import Any

import pytest

from pointsman.node.outcomes import Outcomes
from pointsman.tunnels.attempts import Attempts

FAILED, ANSWERED = Attempts((50.0,)), Attempts(answered=50.0)


def attempt(failure: str | None, lane: str | None = "vault@a") -> dict[str, Any]:
    return {"lane": lane, "failure": failure, "destination": "192.0.2.9:80"}


def ended(kind: str, **more: object) -> dict[str, Any]:
    return {"kind": kind, "lane": "vault@a", "source": "10.71.0.2:4711", "milliseconds": 0, "flags": "-", **more}


@pytest.mark.parametrize(
    ("failure", "known"),
    [
        (None, {"a": FAILED}),  # nothing came in time
        ("delayed_connect_error:_No_route_to_host", {"a": FAILED}),
        ("delayed_connect_error:_Connection_timed_out", {"a": FAILED}),
        ("delayed_connect_error:_Connection_refused", {"a": ANSWERED}),
        ("delayed_connect_error:_Connection_reset_by_peer", {"a": ANSWERED}),
        ("delayed_connect_error:_Software_caused_connection_abort", {}),  # the agent has cut it
        ("immediate_connect_error:_No_route_to_host|remote_address:192.0.2.9:80", {}),
        ("failed_to_bind_to_10.71.0.2:0:_Cannot_assign_requested_address", {}),
    ],
)
def test_only_what_the_path_did_not_carry_counts_against_a_tunnel(
    failure: str | None, known: dict[str, Attempts]
) -> None:
    outcomes = Outcomes()
    outcomes.fail(attempt(failure), 50.0)

    assert outcomes.attempts == known


@pytest.mark.parametrize(
    ("record", "known"),
    [
        (ended("http", details="via_upstream", milliseconds=9000), {"a": ANSWERED}),
        (ended("http", details="upstream_reset_before_response_started{connection_termination}"), {}),
        (ended("http", details="downstream_remote_disconnect"), {}),
        (ended("http", details="route_not_found", lane=None, source=None), {}),
        (ended("tcp"), {"a": ANSWERED}),
        (ended("tcp", milliseconds=9000), {"a": Attempts(answered=41.0)}),  # it connected then, nobody knows more
        (ended("tcp", source=None, flags="UF,URX"), {}),
    ],
)
def test_what_came_back_counts_for_a_tunnel_from_when_it_did(
    record: dict[str, Any], known: dict[str, Attempts]
) -> None:
    outcomes = Outcomes()
    outcomes.end(record, 50.0)

    assert outcomes.attempts == known


def test_what_went_by_no_tunnel_counts_for_none() -> None:
    outcomes = Outcomes()
    for lane in (None, "observed"):
        outcomes.fail(attempt(None, lane), 50.0)
        outcomes.fail(attempt("delayed_connect_error:_Connection_refused", lane), 50.0)

    assert outcomes.attempts == {}
