"""CEL to the boolean form: what each way of writing means, and what is refused where."""

import pytest

from pointsman.model.attribute import BUILTINS, AbsentDeny, AbsentValue, Attribute, Builtin, Claim, Header, Type
from pointsman.model.formula import (
    FALSE,
    TRUE,
    And,
    AtLeast,
    Atom,
    Contains,
    Equals,
    Formula,
    Matches,
    Not,
    Or,
    Prefix,
    Substring,
    Suffix,
    Within,
)
from pointsman.policy.condition import Conditions

ATTRIBUTES = (
    *BUILTINS,
    Attribute("operation", Type.STRING, Builtin(), AbsentDeny(), ("read", "write")),
    Attribute("user.name", Type.STRING, Claim("sub"), AbsentDeny()),
    Attribute("user.role", Type.STRING, Claim("role"), AbsentValue("guest"), ("admin", "clerk")),
    Attribute("user.groups", Type.STRINGS, Claim("groups"), AbsentValue(())),
    Attribute("user.staff", Type.BOOL, Claim("staff"), AbsentValue(False)),
    Attribute("user.age", Type.INT, Claim("age"), AbsentDeny()),
    Attribute("data.tenant", Type.STRING, Header("x-tenant"), AbsentDeny()),
)
NAME, AGE = Atom("user.name", Equals("ann")), Atom("user.age", AtLeast(18))
STAFF = Atom("user.staff", Equals(True))


def conditions() -> Conditions:
    return Conditions(ATTRIBUTES, {"pay": None, "records": None})


def form(text: str) -> Formula:
    condition = conditions().compile(text)
    assert condition.troubles == ()
    return condition.formula


def troubles(text: str) -> list[tuple[int, str]]:
    return [(trouble.offset, trouble.label) for trouble in conditions().compile(text).troubles]


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ('user.name == "ann"', NAME),
        ('"ann" == user.name', NAME),
        ("user.name == 'ann'", NAME),
        ('user.name == r"ann"', NAME),
        ('user.name == "\\u0061nn"', NAME),
        ('user.name == "ann" // she', NAME),
        ('// is it "ann"?\nuser.name == "ann" // "or "not', NAME),
        ('user.name != "ann"', Not(NAME)),
        ('!(user.name == "ann")', Not(NAME)),
        ('!!(user.name == "ann")', NAME),
        ("user.staff", STAFF),
        ("user.staff == true", STAFF),
        ("!user.staff", Not(STAFF)),
        ('user.name in ["ann"]', NAME),
        ('user.name in ["ann", "bob"]', Or((NAME, Atom("user.name", Equals("bob"))))),
        ("user.age in [1, 2]", Or((Atom("user.age", Equals(1)), Atom("user.age", Equals(2))))),
        ("user.name in []", FALSE),
        ('"ops" in user.groups', Atom("user.groups", Contains("ops"))),
        ('user.name.startsWith("a")', Atom("user.name", Prefix("a"))),
        ('user.name.endsWith("a")', Atom("user.name", Suffix("a"))),
        ('user.name.contains("a")', Atom("user.name", Substring("a"))),
        ('user.name.matches("^a|b$")', Atom("user.name", Matches("^a|b$"))),
        ('user.name.contains("")', TRUE),
        ('destination.address.within("198.51.100.0/24")', Atom("destination.address", Within("198.51.100.0/24"))),
        ('destination.address == "2001:db8::1"', Atom("destination.address", Equals("2001:db8::1"))),
        ("user.age >= 18", AGE),
        ("user.age > 17", AGE),
        ("user.age < 18", Not(AGE)),
        ("user.age <= 17", Not(AGE)),
        ("17 < user.age", AGE),
        ("18 > user.age", Not(AGE)),
        ("user.age > -5", Atom("user.age", AtLeast(-4))),
        ("user.age <= 9223372036854775807", TRUE),
        ("user.age > 9223372036854775807", FALSE),
        ("true", TRUE),
        ("user.staff && true", STAFF),
        ("user.staff || true", TRUE),
        ('user.staff && (user.name == "ann" && user.age >= 18)', And((STAFF, NAME, AGE))),
        ("user.staff && user.staff", STAFF),
        ('user.staff ? user.name == "ann" : false', And((STAFF, NAME))),
        (
            'user.staff ? user.name == "ann" : user.age > 17',
            Or((And((STAFF, NAME)), And((Not(STAFF), AGE)))),
        ),
        ('destination.name == ""', Atom("destination.name", Equals(""))),
        ('user.role == "guest"', Atom("user.role", Equals("guest"))),
    ],
)
def test_each_way_of_writing_has_its_boolean_form(text: str, formula: Formula) -> None:
    assert form(text) == formula


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('user.nam == "x"', [(0, "unknown-attribute")]),
        ('"é" == user.nam', [(7, "unknown-attribute")]),
        ('user.x == "1" && user.y == "2"', [(0, "unknown-attribute"), (17, "unknown-attribute")]),
        ("user.name == 3", [(10, "wrong-type")]),
        ("user.name", [(0, "wrong-type")]),
        ("operation", [(0, "wrong-type")]),
        ("user.name ==", [(12, "syntax")]),
        ('user.name = "x"', [(10, "syntax")]),
        ("user.staff and user.staff", [(11, "syntax")]),
        ("user.name == user.name", [(10, "not-boolean-form")]),
        ("user.name in user.groups", [(10, "not-boolean-form")]),
        ("size(user.name) > 3", [(0, "not-boolean-form")]),
        ("user.age + 1 == 3", [(9, "not-boolean-form")]),
        ('user.name == "a" + "b"', [(17, "not-boolean-form")]),
        ('"a" == "a"', [(4, "not-boolean-form")]),
        ('user.name < "b"', [(10, "not-boolean-form")]),
        ('user.groups.exists(g, g == "x")', [(0, "not-boolean-form")]),
        ("has(user.name)", [(0, "not-boolean-form")]),
        ("user.age > 3 && has(user.staff)", [(16, "not-boolean-form")]),
        ("has(user.name) == true", [(15, "wrong-type")]),
        ("user.name.trim() == 'x'", [(0, "unknown-function")]),
        ('user.name.startWith("x")', [(0, "unknown-function")]),
        ('user.name.matches("(")', [(18, "pattern")]),
        ('user.name.matches("(?=x)")', [(18, "pattern")]),
        ('user.name.matches("^.{3}$")', [(18, "pattern")]),
        (f'user.name.matches("{"a" * 2000}")', [(18, "pattern")]),
        ('user.name.within("198.51.100.0/24")', [(0, "wrong-type")]),
        ('destination.address.startsWith("198.")', [(0, "wrong-type")]),
        ('destination.address.within("198.51.100.7/24")', [(27, "network")]),
        ('destination.address == "2001:DB8::1"', [(23, "address")]),
        ('destination.name == "pya"', [(20, "unknown-destination")]),
        ('user.role in ["admin", "boss"]', [(23, "never-holds")]),
        ('operation == "raed"', [(13, "never-holds")]),
        ('operation.startsWith("r")', [(21, "not-boolean-form")]),
        ('user.name != ""', [(13, "never-holds")]),
        ('user.name == "a,b"', [(13, "never-holds")]),
        ('data.tenant == " a"', [(15, "never-holds")]),
        ('request.method == "get"', [(18, "never-holds")]),
        ('request.host == "API.example"', [(16, "never-holds")]),
        ('request.path == "v1"', [(16, "never-holds")]),
        ('request.path.startsWith("/a?b")', [(24, "never-holds")]),
        ('request.path == "/a/../b"', [(16, "never-holds")]),
        ('request.protocol == "https"', [(20, "never-holds")]),
        ("(" * 300 + "user.staff" + ")" * 300, [(0, "too-deep")]),
        ("!(" * 40 + "user.staff" + ")" * 40, [(0, "too-deep")]),
    ],
)
def test_what_has_no_boolean_form_is_refused_at_its_place(text: str, found: list[tuple[int, str]]) -> None:
    assert troubles(text) == found


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('user.name == "a', "a quote that opens here is never closed"),
        ("has(user.nam) && user.name == 'a'", "`has` is not needed"),
    ],
)
def test_a_refusal_says_what_its_author_did(text: str, what: str) -> None:
    assert conditions().compile(text).troubles[0].what == what


@pytest.mark.parametrize(
    ("text", "at", "what", "hint"),
    [
        ("user.name == 3", 10, "`==` cannot be applied to a text and a number", "a text is written in quotes"),
        ('user.staff == "true"', 11, "`==` cannot be applied to a boolean and a text", "without quotes"),
        ('user.name in "ann"', 10, "`in` cannot be applied to a text and a text", 'a list follows `in`: `["a", "b"]`'),
        ('user.groups in ["a"]', 12, "`in` cannot be applied to a list and a list", 'write `"a" in list`'),
        ('user.groups == "a"', 12, "`==` cannot be applied to a list and a text", 'write `"a" in list`'),
        ("user.name in [1]", 10, "`in` cannot be applied to a text and a list", "a number without"),
        ('user.age.startsWith("3")', 0, "`startsWith` cannot be applied to a number and a text", "is for texts"),
        ('user.age + "1" == "2"', 9, "`+` cannot be applied to a number and a text", "conditions do not calculate"),
        ("user.age > 1.5", 9, "`>` cannot be applied to a number and a fraction", "a whole number"),
        ("user.name == null", 10, "`==` cannot be applied to a text and null", "`absent:`"),
        ("user.name && user.staff", 10, "`&&` cannot be applied to a text and a boolean", "compare a text"),
        ("!user.age", 0, "`!` cannot be applied to a number", "compare a text, number or list with a value"),
        ("user.age", 0, "`user.age` is a number, not a condition", "compare it with a value"),
        ('user.name = "x"', 10, "`=` is not an operator", "write `==`"),
        ('user.name="x"', 9, "`=` is not an operator", "write `==`"),
        ("user.age =3", 9, "`=` is not an operator", "write `==`"),
        ("user.age => 3", 9, "`=>` is not an operator", "write `>=`"),
        ("user.age <> 3", 9, "`<>` is not an operator", "write `!=`"),
        ("user.staff and user.staff", 11, "`and` is not an operator", "write `&&`"),
        ("user.staff OR user.staff", 11, "`OR` is not an operator", "write `||`"),
        ("user.staff & user.staff", 11, "`&` is not an operator", "write `&&`"),
        ("not user.staff", 0, "`not` is not an operator", "write `!`"),
        ("not(user.staff)", 0, "`not` is not an operator", "write `!`"),
        ('user.name not in ["a"]', 10, "`not` is not an operator", "write `!(a in […])`"),
        ('user.name.startWith("x")', 0, "unknown function `startWith`", "did you mean `startsWith`?"),
        ('startsWith(user.name, "x")', 0, "`startsWith` cannot be called like this", "`a.startsWith(…)`"),
        ('user.name.contains("a", "b")', 0, "`contains` cannot be called like this", "it takes one value"),
        ('user.name.equals("a")', 0, "unknown function `equals`", "write `==`"),
        ("user.name == ann", 13, "unknown attribute `ann`", 'a text is written in quotes: `"ann"`'),
        ("user.staff == True", 14, "unknown attribute `True`", "write `true`"),
        ('user.name in ("a", "b")', 17, "is not CEL: `,` is not expected here", 'a list is written `["a", "b"]`'),
        ("user.name == \u201cann\u201d", 13, "is not CEL: `\u201c` has no meaning here", "straight quotes"),
        ("destination.address.within(198.51.100.0/24)", 33, "is not CEL: `.100` is not expected here", "in quotes"),
        ("(user.staff", 11, "is not CEL: the condition ends too early", "a `(` is not closed"),
        ("user.staff)", 10, "is not CEL: `)` is not expected here", "nothing opens it"),
    ],
)
def test_a_common_mistake_is_named_with_what_to_write_instead(text: str, at: int, what: str, hint: str) -> None:
    [trouble] = conditions().compile(text).troubles

    assert (trouble.offset, trouble.what) == (at, what)
    assert hint in trouble.hint


def test_two_troubles_in_one_condition_are_both_told() -> None:
    assert troubles('size(user.name) > 3 || operation == "raed"') == [(0, "not-boolean-form"), (36, "never-holds")]


def test_a_shared_compilation_keeps_literals_apart() -> None:
    compiled = conditions()

    assert (
        compiled.compile('user.name == "a" && user.age > 3').formula
        != compiled.compile('user.name == "b" && user.age > 3').formula
    )
    assert compiled.compile('user.name in ["0", "1"]').formula == Or(
        (Atom("user.name", Equals("0")), Atom("user.name", Equals("1")))
    )
    assert compiled.compile(r'user.name == "a\"b"').formula == Atom("user.name", Equals('a"b'))
    assert compiled.compile('user.name == r"a"').formula == Atom("user.name", Equals("a"))
    assert compiled.compile("user.name == '\"a\"'").formula == Atom("user.name", Equals('"a"'))
    assert compiled.compile('user.name == """a"b"""').formula == Atom("user.name", Equals('a"b'))
    assert compiled.compile('user.name == "" || user.name == "a"').troubles[0].offset == 13
