"""What is left of a condition once something is known."""

import pytest

from pointsman.model.attribute import BUILTINS, AbsentDeny, AbsentValue, Attribute, Header, Type
from pointsman.model.formula import (
    And,
    AtLeast,
    Atom,
    Equals,
    Not,
    Or,
    Prefix,
    Present,
    Substring,
    Suffix,
    Test,
    Within,
)
from pointsman.policy.implied import implied, judge_value
from pointsman.policy.simplify import ALWAYS, NEVER, Conditions

ROLE = Attribute("app.role", Type.STRING, Header("x-role"), AbsentDeny(), ("a", "b", "c"))
TAG = Attribute("app.tag", Type.STRING, Header("x-tag"), AbsentDeny())
KIND = Attribute("app.kind", Type.STRING, Header("x-kind"), AbsentValue("none"))
PEER = Attribute("app.peer", Type.IP, Header("x-peer"), AbsentDeny())
GET, PUT = Atom("request.method", Equals("GET")), Atom("request.method", Equals("PUT"))


def conditions() -> Conditions:
    return Conditions((*BUILTINS, ROLE, TAG, KIND, PEER))


def test_equal_conditions_have_equal_numbers() -> None:
    known = conditions()

    assert known.add(And((GET, Not(Not(PUT))))) == known.add(And((PUT, GET, GET)))
    assert known.add(Not(And((GET, PUT)))) == known.add(Or((Not(PUT), Not(GET))))


def test_what_excludes_itself_never_holds() -> None:
    known = conditions()

    assert known.add(And((GET, PUT))) == NEVER
    assert known.add(And((GET, Not(GET)))) == NEVER
    assert known.add(Or((GET, Not(GET)))) == ALWAYS
    assert known.add(Or((Not(GET), Not(PUT)))) == ALWAYS


def test_declared_values_leave_only_questions_of_equality() -> None:
    known = conditions()

    assert known.add(Not(Atom("app.role", Equals("a")))) == known.add(
        Or((Atom("app.role", Equals("b")), Atom("app.role", Equals("c"))))
    )
    assert known.add(Atom("app.role", Prefix("z"))) == NEVER


def test_a_known_fact_is_put_in() -> None:
    known = conditions()
    number = known.add(Or((And((GET, Atom("app.tag", Prefix("x")))), PUT)))

    assert known.rewrite(number, "request.method", judge_value("PUT"), {}) == ALWAYS
    assert known.rewrite(number, "request.method", judge_value("GET"), {}) == known.add(Atom("app.tag", Prefix("x")))
    assert known.rewrite(number, "request.method", judge_value("POST"), {}) == NEVER


def test_addresses_that_others_write_are_compared_as_addresses() -> None:
    known = conditions()

    assert known.add(Atom("app.peer", Equals("2001:db8::1"))) == known.add(Atom("app.peer", Within("2001:db8::1/128")))


def test_in_a_list_a_test_says_itself_what_absence_means() -> None:
    known = conditions()
    tag, kind = Atom("app.tag", Prefix("x")), Atom("app.kind", Equals("none"))

    number = known.add(tag)
    assert known.explicit(number, surely=True) == tag
    assert known.explicit(number, surely=False) == Or((tag, Not(Atom("app.tag", Present()))))
    number = known.add(Not(kind))
    assert known.explicit(number, surely=True) == known.explicit(number, surely=False)
    assert known.explicit(number, surely=True) == And((Atom("app.kind", Present()), Not(kind)))


@pytest.mark.parametrize(
    ("asked", "known", "outcome", "answer"),
    [
        (Prefix("/a"), Prefix("/a/b"), True, True),
        (Prefix("/a/b"), Prefix("/a"), True, None),
        (Prefix("/b"), Prefix("/a"), True, False),
        (Prefix("/a/b"), Prefix("/a"), False, False),
        (Prefix("/a"), Prefix("/a/b"), False, None),
        (Suffix(".b.c"), Suffix(".c"), False, False),
        (Substring("b"), Prefix("abc"), True, True),
        (Prefix("abc"), Substring("b"), False, False),
        (AtLeast(3), AtLeast(5), True, True),
        (AtLeast(5), AtLeast(3), False, False),
        (Within("198.51.100.0/24"), Within("198.51.100.0/25"), True, True),
        (Within("2001:db8::/32"), Within("198.51.100.0/25"), True, False),
        (Within("198.51.100.0/25"), Within("198.51.100.0/24"), False, False),
    ],
)
def test_one_test_can_settle_another(asked: Test, known: Test, outcome: bool, answer: bool | None) -> None:
    assert implied(asked, known, outcome) is answer
