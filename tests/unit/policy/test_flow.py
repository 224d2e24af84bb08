"""What a policy says to plain TCP flows."""

from pointsman.model.attribute import AbsentDeny, AbsentValue, Attribute, Claim, Type, Value
from pointsman.model.context import Absent, Context
from pointsman.model.decision import Permit
from pointsman.model.diagram import Branch, Leaf, Switch
from pointsman.model.formula import TRUE, And, AtLeast, Atom, Equals, Formula, Not, Within
from pointsman.model.policy import Policy, Rule
from pointsman.model.problem import Place
from pointsman.policy.decide import decide, walk
from pointsman.policy.diagram import compile_policy
from pointsman.policy.flow import flows

ATTRIBUTES = (
    Attribute("user.name", Type.STRING, Claim("sub"), AbsentValue("anonymous")),
    Attribute("user.role", Type.STRING, Claim("role"), AbsentDeny()),
)


def is_(name: str, value: Value) -> Formula:
    return Atom(name, Equals(value))


def policy(*rules: tuple[Formula, str | None]) -> Policy:
    made = [Rule(f"r{n}", when, profile, "", Place()) for n, (when, profile) in enumerate(rules)]
    return Policy("p", "v", ATTRIBUTES, (), (), (*made, Rule("default", TRUE, None, "", Place())), None)


def test_what_a_flow_does_not_show_is_absent() -> None:
    toward = flows(
        compile_policy(
            policy(
                (is_("user.name", "ann"), "never"),
                (And((is_("destination.name", "a"), is_("user.role", "x"))), "perhaps"),
                (is_("request.protocol", "tcp"), "plain"),
            )
        )
    )

    doubtful = toward(("a",))
    assert isinstance(doubtful, Leaf)
    assert doubtful.absent == "user.role"
    plain = toward(("b",))
    assert isinstance(plain, Leaf)
    assert (plain.rule, plain.absent) == (2, "")
    assert toward(()) is plain


def test_several_destinations_have_to_agree() -> None:
    toward = flows(
        compile_policy(policy((is_("destination.name", "a"), "x"), (is_("destination.name", "b"), "x"), (TRUE, "y")))
    )

    agreed, torn = toward(("a", "b")), toward(("a", "c"))
    assert isinstance(agreed, Leaf)
    assert (agreed.rule, agreed.absent) == (0, "")
    assert isinstance(torn, Leaf)
    assert torn.absent == "destination.name"


def test_the_kernel_is_asked_for_address_port_and_user_alone() -> None:
    rules = (
        (And((Atom("destination.address", Within("198.51.100.0/24")), is_("process.uid", 1001))), "x"),
        (And((Atom("destination.port", AtLeast(1024)), Not(is_("request.method", "GET")))), "y"),
        (is_("destination.port", 22), "z"),
    )
    compiled = compile_policy(policy(*rules))
    node = flows(compiled)(())

    assert isinstance(node, (Switch, Branch))
    for address in ("198.51.100.7", "203.0.113.1"):
        for port in (22, 80, 1024):
            for uid in (1001, 1002):
                facts: dict[str, Value | Absent] = {
                    "request.protocol": "tcp",
                    "destination.name": "",
                    "destination.address": address,
                    "destination.port": port,
                    "process.uid": uid,
                }
                leaf, decision = walk(node, facts, []), decide(compiled, Context(facts))
                assert leaf is not None
                assert compiled.policy.rules[leaf.rule].name == decision.rule
                assert bool(leaf.absent) == bool(getattr(decision, "absent", ""))
                assert isinstance(decision, Permit) == (
                    compiled.policy.rules[leaf.rule].profile is not None and not leaf.absent
                )
