"""What a profile says of health, choice and moves."""

import pytest

from pointsman.model.problem import Invalid
from pointsman.model.profile import Choose, Health, OnMove, Profile
from pointsman.policy.load import load_policy


def profile(more: str) -> Profile:
    text = f"""
apiVersion: pointsman/v1
kind: Policy
metadata: {{name: p}}
profiles:
  - {{name: one, encryption: strong{", " if more else ""}{more}}}
default: {{profile: one}}
"""
    return load_policy(text.encode(), "p.yaml", lambda _: b"").profiles[0]


def test_left_out_it_is_probed_chosen_and_left_as_the_docs_say() -> None:
    found = profile("")

    assert found.health == Health(0.2, 3, 5, 0.2, None)
    assert (found.choose, found.fail_back, found.on_move, found.drain_within) == (
        Choose.NEAREST,
        30.0,
        OnMove.DRAIN,
        30.0,
    )


def test_what_is_said_is_taken() -> None:
    found = profile(
        "health: {interval: 1s, down: 2, up: 4, loss: 5%, latency: 150ms}, choose: least-latency, failBack: never, "
        "onMove: keep, drainWithin: 2m"
    )

    assert found.health == Health(1.0, 2, 4, 0.05, 0.15)
    assert (found.choose, found.fail_back, found.on_move, found.drain_within) == (
        Choose.LEAST_LATENCY,
        None,
        OnMove.KEEP,
        120.0,
    )
    assert profile("failBack: {after: 5m}").fail_back == 300.0


def test_a_guarantee_and_the_code_point_outside_are_taken() -> None:
    found = profile("limits: {guaranteed: 2Mbit, bandwidth: 3Mbit}, dedicated: true, dscpOuter: true")

    assert (found.limits.guaranteed, found.limits.bandwidth, found.dscp_outer) == (2_000_000, 3_000_000, True)


@pytest.mark.parametrize(
    ("more", "label"),
    [
        ("health: {interval: 10ms}", "interval"),
        ("choose: ordered", "no-order"),
        ("limits: {guaranteed: 7kbit}", "bandwidth"),
        ("limits: {guaranteed: 2Mbit, bandwidth: 1Mbit}", "bandwidth"),
        ("dscpOuter: true", "shared-tunnel"),
    ],
)
def test_what_makes_no_sense_is_refused(more: str, label: str) -> None:
    with pytest.raises(Invalid) as refused:
        profile(more)
    assert [problem.label for problem in refused.value.problems] == [label]
