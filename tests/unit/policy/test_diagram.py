"""The diagram: what it looks like, how large it gets, and what is said where a fact is absent."""

import gc

from pointsman.model.attribute import BUILTINS, AbsentDeny, AbsentValue, Attribute, Claim, NodeFact, Type, Value
from pointsman.model.context import Absent, Context
from pointsman.model.decision import Compared, Deny, Permit
from pointsman.model.diagram import Leaf, Listing, Node, Prefixes, Switch
from pointsman.model.formula import (
    TRUE,
    And,
    AtLeast,
    Atom,
    Equals,
    Formula,
    Matches,
    Not,
    Or,
    Prefix,
)
from pointsman.model.policy import Policy, Rule
from pointsman.model.problem import Place
from pointsman.policy.cost import cost
from pointsman.policy.decide import decide, walk
from pointsman.policy.diagram import compile_policy, toward

ATTRIBUTES = (
    Attribute("user.name", Type.STRING, Claim("sub"), AbsentValue("anonymous")),
    Attribute("user.role", Type.STRING, Claim("role"), AbsentDeny(), ("admin", "dev")),
    Attribute("user.level", Type.INT, Claim("level"), AbsentDeny()),
    Attribute("node.zone", Type.STRING, NodeFact(), AbsentDeny()),
)


def is_(name: str, value: Value) -> Formula:
    return Atom(name, Equals(value))


def policy(*rules: tuple[Formula, str | None]) -> Policy:
    made = [Rule(f"r{n}", when, profile, "", Place()) for n, (when, profile) in enumerate(rules)]
    return Policy("p", "v", ATTRIBUTES, (), (), (*made, Rule("default", TRUE, None, "", Place())), None)


def asked(of: Policy, budget: int | None = None, **facts: Value) -> Permit | Deny:
    known = {name.replace("_", "."): value for name, value in facts.items()}
    return decide(compile_policy(of, budget=budget), Context(known))


def test_the_first_rule_that_holds_decides() -> None:
    both = policy((is_("user.name", "ann"), "fast"), (TRUE, "slow"))

    assert asked(both, user_name="ann").rule == "r0"
    assert asked(both, user_name="bob").rule == "r1"


def test_exact_values_are_looked_up_and_equal_rests_are_one_node() -> None:
    root = compile_policy(policy((Or((is_("user.name", "ann"), is_("user.name", "bob"))), "fast"))).root

    assert isinstance(root, Switch)
    assert set(root.cases) == {"ann", "bob"}
    assert root.cases["ann"] is root.cases["bob"]
    assert root.absent is root.other


def test_prefixes_are_decided_by_the_longest() -> None:
    root = compile_policy(
        policy(
            (Atom("request.path", Prefix("/a/b/")), "deep"),
            (Atom("request.path", Prefix("/a/")), "high"),
            (Atom("request.path", Prefix("/a/b/c/")), "never"),
        )
    ).root

    assert isinstance(root, Prefixes)
    assert (set(root.cases), root.lengths) == ({"/a/b/", "/a/"}, (5, 3))


def test_a_value_that_is_not_declared_counts_as_absent() -> None:
    one = policy((is_("user.role", "admin"), "fast"), (is_("user.role", "dev"), "slow"))

    assert isinstance(asked(one, user_role="dev"), Permit)
    for refused in (asked(one, user_role="root"), asked(one)):
        assert isinstance(refused, Deny)
        assert refused.absent == "user.role"


def test_an_absent_fact_denies_only_where_it_would_make_a_difference() -> None:
    one = policy(
        (And((is_("user.role", "admin"), is_("request.method", "GET"))), "fast"),
        (And((Not(is_("user.role", "admin")), is_("request.method", "GET"))), "fast"),
        (And((is_("user.role", "dev"), is_("request.method", "PUT"))), "fast"),
    )

    assert isinstance(asked(one, request_method="GET"), Permit)
    refused = asked(one, request_method="PUT")
    assert isinstance(refused, Deny)
    assert (refused.rule, refused.absent) == ("r2", "user.role")
    plain = asked(one, request_method="POST")
    assert isinstance(plain, Deny)
    assert (plain.rule, plain.absent) == ("default", "")


def test_several_absent_facts_are_tried_together() -> None:
    one = policy(
        (And((is_("user.role", "admin"), Atom("user.level", AtLeast(3)))), "fast"),
        (Or((Not(is_("user.role", "admin")), Not(Atom("user.level", AtLeast(3))))), "fast"),
    )

    assert isinstance(asked(one), Permit)


def test_a_fact_of_the_node_is_known_before() -> None:
    one = policy((is_("node.zone", "eu"), "fast"))

    assert isinstance(compile_policy(one, {"node.zone": "eu"}).root, Leaf)
    decision = decide(compile_policy(one), Context({}))
    assert isinstance(decision, Deny)
    assert decision.absent == "node.zone"


def test_a_fact_with_two_possible_values_counts_where_both_agree() -> None:
    one = policy((is_("destination.name", "a"), "x"), (is_("destination.name", "b"), "x"), (TRUE, "y"))
    either = Absent("two fit", ("a", "b"))

    assert isinstance(decide(compile_policy(one), Context({"destination.name": either})), Permit)
    none = decide(compile_policy(one), Context({"destination.name": Absent("two fit", ("a", ""))}))
    assert isinstance(none, Deny)
    assert none.absent == "destination.name"


def test_rules_that_alternate_are_cut_into_blocks_instead_of_multiplying() -> None:
    rules = [(is_("user.name", f"u{n}") if n % 2 else is_("request.method", f"M{n}"), f"p{n}") for n in range(2000)]
    size = cost(compile_policy(policy(*rules)).root)

    assert size.leaves < 16 * 2000
    assert size.longest < 200


def test_many_patterns_become_one_list() -> None:
    rules = [(Atom("request.path", Matches(f"^/x{n}/[0-9]+$")), "p") for n in range(500)]
    root = compile_policy(policy(*rules)).root

    assert isinstance(root, Listing)
    assert cost(root).depth == 1


def test_twenty_thousand_exact_rules_take_one_leaf_each_and_a_few_per_destination() -> None:
    rules = [(And((is_("user.name", f"u{n}"), is_("destination.name", f"d{n % 100}"))), "p") for n in range(20_000)]
    size = cost(compile_policy(policy(*rules)).root)

    assert size.leaves <= 20_000 + 2 * 100 + 2
    assert size.depth == 2


def test_a_destination_sees_only_its_rules() -> None:
    compiled = compile_policy(
        policy(
            (And((is_("destination.name", "a"), is_("user.name", "ann"))), "x"),
            (is_("destination.name", "b"), "y"),
        )
    )

    assert _rules(toward(compiled, "a")) == {0, 2}
    assert _rules(toward(compiled, "b")) == {1}
    assert _rules(toward(compiled, "")) == {2}


def test_a_diagram_that_does_not_ask_for_the_destination_is_the_same_toward_each() -> None:
    one = policy(
        (And((is_("user.name", "ann"), Atom("request.path", Prefix("/a")))), "x"),
        (Or((is_("user.role", "admin"), Atom("user.level", AtLeast(5)))), "y"),
    )
    for budget in (None, 0):
        compiled = compile_policy(one, budget=budget)
        assert toward(compiled, "a") is compiled.root


def test_a_budget_of_nothing_still_decides_the_same() -> None:
    one = policy(
        (And((is_("user.name", "ann"), Atom("request.path", Prefix("/a")))), "x"),
        (Or((is_("user.role", "admin"), Atom("user.level", AtLeast(5)))), "y"),
    )
    facts: dict[str, Value] = {"user_name": "bob", "request_path": "/a", "user_role": "dev", "user_level": 7}

    assert isinstance(compile_policy(one, budget=0).root, Listing)
    assert asked(one, 0, **facts).rule == asked(one, None, **facts).rule == "r1"


def _rules(node: Node) -> set[int]:
    match node:
        case Leaf(rule):
            return {rule}
        case Switch(_, cases, other, absent):
            return set().union(*(map(_rules, (*cases.values(), other, absent))))
    raise AssertionError(node)


def test_built_in_attributes_need_no_declaration() -> None:
    assert {attribute.name for attribute in BUILTINS}.isdisjoint({a.name for a in ATTRIBUTES})
    assert asked(policy((Atom("destination.port", AtLeast(1024)), "x")), destination_port=8080).rule == "r0"


def test_compiling_leaves_no_cycles_of_garbage_that_pile_up_until_the_collector_stops_everything() -> None:
    rules = [(And((is_("user.name", f"u{n % 9}"), is_("user.level", n))), "fast") for n in range(90)]
    gc.collect()
    gc.disable()
    try:
        compile_policy(policy(*rules))
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_fact_that_only_has_to_be_there_is_asked_for_as_such() -> None:
    one = policy(
        (And((is_("user.role", "admin"), is_("request.method", "GET"))), "fast"),
        (And((Atom("user.level", AtLeast(3)), is_("user.role", "dev"))), "slow"),
        (And((Not(Atom("user.level", AtLeast(3))), is_("user.role", "dev"))), "slower"),
    )

    for known in ({}, {"user_level": 3}, {"user_level": 1}):
        for role in ("admin", "dev"):
            assert asked(one, user_role=role, request_method="PUT", **known).trace
    there = Switch("user.level", {}, Leaf(0), Leaf(1))
    trace: list[Compared] = []
    assert walk(there, {"user.level": 7}, trace) == there.other
    assert trace == [Compared("user.level", "is there one", "7")]
