"""All readers of a policy agree: the plain reading of its rules, the diagram, and where a real Envoy goes.

`READERS_EXAMPLES` and `READERS_POLICIES` say how many policies are tried without and with Envoy, twelve requests each;
`READERS_SEED` is where the run against Envoy starts. That the conditions as written mean what the formulas say is
held by `test_language.py`, and with absence and derived facts by `test_plain_reading.py`.
"""

import os
from random import Random

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pointsman.model.context import Context
from pointsman.model.decision import Deny, Permit
from pointsman.policy.context import attributes_of
from pointsman.policy.decide import decide, walk
from pointsman.policy.diagram import compile_policy
from tests.property import policies, proxy

POLICIES = int(os.environ.get("READERS_POLICIES", "400"))
EXAMPLES = int(os.environ.get("READERS_EXAMPLES", "300"))
SEED = int(os.environ.get("READERS_SEED", "1"))
REQUESTS = 12


@settings(max_examples=EXAMPLES, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.integers(0, 2**32))
def test_the_diagram_decides_as_the_plain_reading_does(seed: int) -> None:
    case = policies.case(Random(seed))  # noqa: S311
    compiled = compile_policy(case.policy, budget=case.budget)
    for facts in case.requests:
        problem = disagreement(case, facts, decide(compiled, Context(facts)))
        assert not problem, problem


def disagreement(case: policies.Case, facts: policies.Facts, decision: Permit | Deny) -> str:
    """Say what is wrong with a decision; nothing where it is right."""
    rules = case.policy.rules
    found, complete = policies.plain_reading(case.policy, facts)
    expected = {rules[index].profile for index in found}
    profile = decision.profile if isinstance(decision, Permit) else None
    why = f"{decision} instead of {[rules[index] for index in sorted(found)]}"
    if complete:
        right = {rules[index].name for index in found} == {decision.rule} and expected == {profile}
        return "" if right and not (isinstance(decision, Deny) and decision.absent) else why
    if len(expected) > 1 or profile is not None:
        return "" if profile is None or expected == {profile} else why
    # refused though every value that was tried permits it: only where a list stands in for the diagram, or
    # where conditions can come out in ways that no tried value shows
    exact = case.budget is None and len(rules) < 20 and policies.certain(case.policy)
    return why if exact and expected != {None} else ""


def test_envoy_goes_where_the_diagram_says() -> None:
    random = Random(SEED)  # noqa: S311
    cases = {f"p{number}": policies.case(random, REQUESTS) for number in range(POLICIES)}
    compiled = {name: compile_policy(case.policy, budget=case.budget) for name, case in cases.items()}
    attributes = attributes_of(next(iter(cases.values())).policy)
    known = proxy.inputs(attributes)
    wrong: list[tuple[str, object, str, str]] = []
    with proxy.running({name: one.root for name, one in compiled.items()}, known) as real:
        for name, case in cases.items():
            for facts in case.requests:
                usable = {a.name: policies.usable(a, facts.get(a.name, policies.Absent(""))) for a in attributes}
                expected = proxy.label(walk(compiled[name].root, usable, []))
                method = str(facts["request.method"])
                observed = real.ask(name, method, proxy.headers(facts, attributes, known))
                if observed != expected:
                    wrong.append((name, facts, expected, observed))
    assert wrong == []
