"""What decisions become while a policy is enforced, and while it is only observed."""

from dataclasses import replace

import pytest

from pointsman.dataplane.accesslog import http_log
from pointsman.dataplane.clusters import OBSERVED, compile_clusters
from pointsman.dataplane.envoy import Object, Settings
from pointsman.dataplane.leaves import Leaves
from pointsman.model.diagram import Leaf
from pointsman.model.formula import TRUE
from pointsman.model.policy import Policy, Rule
from pointsman.model.problem import Place
from pointsman.model.profile import Level, Limits, Profile, Rate
from pointsman.model.tunnel import Lane

LANE = Lane("fast", "a", 0x00200000, "eth0", ("192.0.2.10",))
POLICY = Policy(
    name="observed",
    version="1",
    attributes=(),
    destinations=(),
    profiles=(Profile("fast", Level.NONE, limits=Limits(Rate(5, 5))), Profile("gone", Level.QUANTUM)),
    rules=(
        Rule("allowed", TRUE, "fast", "", Place()),
        Rule("denied", TRUE, None, "", Place()),
        Rule("lost", TRUE, "gone", "", Place()),
    ),
    identity=None,
)
LEAVES = {
    "allowed": Leaf(0),
    "denied": Leaf(1),
    "lost": Leaf(2),
    "absent": Leaf(0, "user.role"),
}


def route(name: str, observe: bool) -> Object:
    made = Leaves(POLICY, {"fast": LANE, "gone": "no tunnel fits it"}, observe).action(LEAVES[name], "public")
    return made["action"]["typed_config"]  # type: ignore[index, call-overload, return-value]


@pytest.mark.parametrize(
    ("name", "rule", "outcome"),
    [
        ("allowed", "allowed", "fast"),
        ("denied", "denied", "403"),
        ("lost", "lost", "gone"),
        ("absent", "allowed", "403"),
    ],
)
def test_what_is_observed_leaves_unheld_and_says_what_was_decided(name: str, rule: str, outcome: str) -> None:
    found = route(name, observe=True)

    assert (found["name"], found["route"]) == (rule, {"cluster": OBSERVED, "timeout": "0s"})
    assert found["metadata"] == {"filter_metadata": {"pointsman": {"observed": outcome}}}
    assert "direct_response" not in found


def test_a_request_that_would_be_refused_before_any_rule_leaves_too() -> None:
    refused = Leaves(POLICY, {}, observe=True).refuse(421, "it does not go there")
    found = refused["action"]["typed_config"]  # type: ignore[index, call-overload]

    assert found["route"]["cluster"] == OBSERVED
    assert found["metadata"]["filter_metadata"]["pointsman"]["observed"] == "421"


@pytest.mark.parametrize(("name", "status"), [("denied", 403), ("lost", 503), ("absent", 403)])
def test_what_is_enforced_is_refused(name: str, status: int) -> None:
    assert route(name, observe=False)["direct_response"]["status"] == status  # type: ignore[index, call-overload]


def test_what_is_enforced_takes_its_lane() -> None:
    assert route("allowed", observe=False)["route"] == {"cluster": "fast@a", "timeout": "0s"}


def test_only_to_observe_takes_a_way_that_is_bound_to_nothing() -> None:
    def unbound(observe: bool) -> list[object]:
        return [one["name"] for one in compile_clusters([LANE], (), observe) if "upstream_bind_config" not in one]

    assert (unbound(observe=True), unbound(observe=False)) == ([OBSERVED], [])


def test_only_what_is_observed_is_recorded_as_such() -> None:
    settings = Settings("/f", "/s", "/l")
    logs = [str(http_log(replace(settings, observe=observe), False, {})) for observe in (True, False)]

    assert ["ROUTE:pointsman:observed" in log for log in logs] == [True, False]
