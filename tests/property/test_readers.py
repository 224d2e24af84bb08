"""All readers of a policy agree: the plain reading of its rules, the diagram, and where a real Envoy goes.

`READERS_EXAMPLES` and `READERS_POLICIES` say how many policies are tried without and with Envoy, twelve requests each;
`READERS_SEED` is where the run against Envoy starts. That the conditions as written mean what the formulas say is
held by `test_language.py`, and with absence and derived facts by `test_plain_reading.py`.
"""

import os
import subprocess
import sys
from random import Random

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pointsman.model.attribute import AbsentDeny, Attribute, Header, Type, Value
from pointsman.model.context import Absent, Context
from pointsman.model.decision import Deny, Permit
from pointsman.model.diagram import Leaf
from pointsman.model.formula import TRUE, And, Atom, Equals, Matches, Not, Or, Prefix, Suffix
from pointsman.model.policy import Policy, Rule
from pointsman.model.problem import Place
from pointsman.policy.context import attributes_of, usable
from pointsman.policy.cost import cost
from pointsman.policy.decide import decide, walk
from pointsman.policy.diagram import compile_policy, toward
from pointsman.policy.flow import flows
from pointsman.policy.restrict import restrict
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
                expected = proxy.label(walk(compiled[name].root, _usable(facts, case), []))
                method = str(facts["request.method"])
                observed = real.ask(name, method, proxy.headers(facts, attributes, known))
                if observed != expected:
                    wrong.append((name, facts, expected, observed))
    assert wrong == []


@settings(max_examples=EXAMPLES // 3, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.integers(0, 2**32))
def test_what_is_left_of_a_diagram_decides_as_all_of_it_does(seed: int) -> None:
    case = policies.case(Random(seed), 4)  # noqa: S311
    root = compile_policy(case.policy, budget=case.budget).root
    for facts in case.requests:
        usable = _usable(facts, case)
        expected, left = walk(root, usable, []), root
        for attribute in sorted(attributes_of(case.policy), key=lambda one: hash((seed, one.name))):
            left = restrict(left, attribute, usable[attribute.name])
            assert proxy.label(walk(left, usable, [])) == proxy.label(expected)
        assert isinstance(left, Leaf)


@settings(max_examples=EXAMPLES // 3, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.integers(0, 2**32))
def test_toward_a_destination_the_diagram_decides_as_all_of_it_does(seed: int) -> None:
    name = next(a for a in policies.EVERY if a.name == "destination.name")
    case = policies.case(Random(seed), 4, (name, name))  # noqa: S311
    compiled = compile_policy(case.policy, budget=case.budget)
    for destination in ("", *policies.WORDS[:6]):
        left = toward(compiled, destination)
        for facts in case.requests:
            usable = {**_usable(facts, case), name.name: destination}
            assert proxy.label(walk(left, usable, [])) == proxy.label(walk(compiled.root, usable, []))
            assert proxy.label(walk(left, _usable(facts, case), [])) == proxy.label(walk(left, usable, []))


@settings(max_examples=EXAMPLES // 3, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.integers(0, 2**32))
def test_plain_tcp_flows_are_decided_as_by_the_whole_diagram(seed: int) -> None:
    case = policies.case(Random(seed), 4)  # noqa: S311
    compiled = compile_policy(case.policy)
    node = flows(compiled)(())
    for facts in case.requests:
        kernel = {name: fact for name, fact in facts.items() if name.startswith("destination.")}
        context = {"request.protocol": "tcp", "destination.name": "", **kernel}
        decision, leaf = decide(compiled, Context(context)), walk(node, context, [])
        assert leaf is not None
        rule = case.policy.rules[leaf.rule]
        profile = None if leaf.absent else rule.profile
        # where a list stands in for the diagram it denies more than it must, and the kernel reads without it
        if cost(compiled.root).longest == 0:
            assert profile == getattr(decision, "profile", None)
        elif profile is not None and isinstance(decision, Permit):
            assert profile == decision.profile


def test_the_proxy_takes_an_empty_value_for_none_and_any_other_bytes_for_a_value() -> None:
    tag = Attribute("app.tag", Type.STRING, Header("x-tag"), AbsentDeny())
    rules = (
        Rule("a", Atom("app.tag", Equals("a")), "green", "", Place()),
        Rule("b", Atom("app.tag", Prefix("b")), "blue", "", Place()),
        Rule("not", Not(Atom("app.tag", Matches("c"))), "red", "", Place()),
        Rule("default", TRUE, "green", "", Place()),
    )
    policy = Policy("p", "v", (tag,), (), (), rules, None)
    listed, tree = compile_policy(policy, budget=0).root, compile_policy(policy).root
    with proxy.running({"listed": listed, "tree": tree}, proxy.inputs(attributes_of(policy))) as real:
        for name in ("listed", "tree"):
            said = {text: real.ask(name, "GET", {"x-tag": text}) for text in (b"a", b" a\t", b"bc", b"A", b"xcx")}
            assert said == {b"a": "0", b" a\t": "0", b"bc": "1", b"A": "2", b"xcx": "3"}
            without = real.ask(name, "GET", {})
            assert without.endswith("app.tag")
            assert [real.ask(name, "GET", {"x-tag": text}) for text in (b"", b" ")] == [without] * 2
            assert real.ask(name, "GET", {"x-tag": b"z\xff"}) == "2"


def test_a_policy_that_asks_about_everything_is_not_too_deep_for_envoy() -> None:
    every = [a for a in attributes_of(policies.case(Random(0)).policy) if a.type is Type.STRING]  # noqa: S311
    names = [a.name for a in every if a.name not in ("destination.name", "request.protocol", "request.host")]
    values = {name: "admin" if name == "user.role" else "open" if name == "data.label" else "GET" for name in names}
    rules = []
    for count in range(len(names), 0, -1):
        asked = [Atom(name, Equals(values[name])) for name in names[:count]]
        starts = [Atom(name, Prefix("x" * count)) for name in names[:count] if name in ("app.tag", "user.name")]
        ends = [Atom(name, Suffix("y" * count)) for name in names[:count] if name in ("app.tag", "request.path")]
        rules.append(
            Rule(f"r{count}", Or((And(tuple(asked)), And((*starts, *ends, *asked[1:])))), "green", "", Place())
        )
    rules.append(Rule("default", TRUE, None, "", Place()))
    policy = Policy("p", "v", policies.DECLARED, (), (), tuple(rules), None)
    root = compile_policy(policy).root
    known = proxy.inputs(attributes_of(policy))
    with proxy.running({"deep": root}, known) as real:
        assert real.ask("deep", "GET", proxy.headers(dict(values), attributes_of(policy), known)) == "0"


def test_the_same_policy_gives_the_same_tree_in_every_process() -> None:
    script = (
        "from random import Random; from hashlib import sha256; from tests.property import policies, proxy;"
        "from pointsman.policy.diagram import compile_policy; from pointsman.dataplane.matcher import compile_node;"
        "cases = [policies.case(Random(seed)) for seed in range(60)]; known = proxy.inputs(policies.EVERY);"
        "trees = [compile_policy(case.policy, budget=case.budget).root for case in cases];"
        "made = repr([compile_node(tree, known, lambda leaf: {'leaf': leaf.rule}) for tree in trees]);"
        "print(sha256(made.encode()).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)) + os.pathsep + os.getcwd(),
            },
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def _usable(facts: policies.Facts, case: policies.Case) -> dict[str, Value | Absent]:
    return {a.name: usable(a, facts.get(a.name, Absent("left out"))) for a in attributes_of(case.policy)}
