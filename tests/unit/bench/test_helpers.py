from types import MappingProxyType

import pytest

from bench import figures, load, policies
from pointsman.model.decision import Permit
from pointsman.policy.context import read
from pointsman.policy.decide import decide
from pointsman.policy.diagram import compile_policy
from pointsman.policy.load import load_policy


@pytest.mark.parametrize("shape", policies.SHAPES)
def test_every_request_of_a_shape_meets_another_rule(shape: str) -> None:
    policy = load_policy(policies.policy_text(shape, 60), "policy.yaml", policies.no_files)
    compiled = compile_policy(policy)
    contexts = [read(policies.request(key), policy, MappingProxyType({})) for key in policies.keys(shape, 60)]

    decisions = [decide(compiled, context) for context in contexts]

    assert sorted(one.rule for one in decisions) == sorted(f"rule-{number}" for number in range(60))
    assert all(isinstance(one, Permit) for one in decisions)


def test_requests_are_spread_over_all_rules() -> None:
    assert policies.keys("exact", 20_000, 3) == (
        policies.Key("team-0", "/items/0"),
        policies.Key("team-395", "/items/19"),
        policies.Key("team-791", "/items/18"),
    )


def test_denied_paths_come_before_all_rules() -> None:
    text = policies.policy_text("exact", 5, denied=("/no",))

    assert load_policy(text, "policy.yaml", policies.no_files).rules[0].profile is None


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    assert figures.ratio([(1, 2), (9, 10), (3, 4)]) == 0.75


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert figures.percentile(range(1, 101), 0.99) == 99
    assert figures.percentile([5.0], 0.99) == 5.0


def test_the_load_names_every_request() -> None:
    script = load.script(policies.keys("exact", 3), pause=2)

    assert script.count("wrk.format") == 3
    assert "return 2" in script
