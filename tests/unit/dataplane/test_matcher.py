"""The diagram as Envoy gets it."""

import re2

from pointsman.dataplane import headers, patterns
from pointsman.dataplane.envoy import Json, Object
from pointsman.dataplane.inputs import Listed, Plain, inputs_of
from pointsman.dataplane.matcher import compile_node
from pointsman.dataplane.ranges import at_least
from pointsman.model.attribute import BUILTINS, LARGEST, AbsentDeny, AbsentValue, Attribute, Claim, Header, Type
from pointsman.model.diagram import Branch, Leaf, Listing, Next, Node, Prefixes, Switch
from pointsman.model.formula import TRUE, Atom, Equals, Suffix

ATTRIBUTES = (
    *BUILTINS,
    Attribute("user.name", Type.STRING, Claim("sub"), AbsentValue("anonymous")),
    Attribute("user.groups", Type.STRINGS, Claim("groups"), AbsentDeny()),
    Attribute("app.tag", Type.STRING, Header("x-tag"), AbsentDeny()),
)
INPUTS = inputs_of(ATTRIBUTES)
A, B, C = Leaf(0), Leaf(1), Leaf(2, "app.tag")
USER = headers.claim_header("sub")


def read_header(name: str) -> Object:
    kind = "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput"
    return {"name": "header", "typed_config": {"@type": kind, "header_name": name}}


def single(name: str, **match: Json) -> Object:
    return {"single_predicate": {"input": read_header(name), "value_match": match}}


def regex(name: str, pattern: str) -> Object:
    return single(name, safe_regex={"google_re2": {}, "regex": pattern})


def action(leaf: Leaf) -> Object:
    return {"action": {"name": f"{leaf.rule}{leaf.absent}"}}


def compiled(node: Node) -> Object:
    return compile_node(node, INPUTS, action)


def test_exact_values_are_a_table_and_absence_is_what_is_left() -> None:
    present: Json = {"predicate": regex("x-tag", "(?s:.+)"), "on_match": action(B)}
    assert compiled(Switch("app.tag", {"x": A}, B, C)) == {
        "matcher_tree": {"input": read_header("x-tag"), "exact_match_map": {"map": {"x": action(A)}}},
        "on_no_match": {"matcher": {"matcher_list": {"matchers": [present]}, "on_no_match": action(C)}},
    }


def test_what_is_always_there_is_not_asked_for() -> None:
    assert compiled(Switch("request.method", {"GET": A}, B, C)) == {
        "matcher_tree": {"input": read_header(":method"), "exact_match_map": {"map": {"GET": action(A)}}},
        "on_no_match": action(B),
    }


def test_values_that_go_to_the_same_tree_share_it() -> None:
    shared = Switch("request.method", {"GET": A}, B, B)
    found = compiled(Switch("user.name", {"ann": shared, "bob": shared}, B, B))

    listed: Json = {"predicate": regex(USER, "ann|bob"), "on_match": {"matcher": compiled(shared)}}
    assert found == {"matcher_list": {"matchers": [listed]}, "on_no_match": action(B)}


def test_tests_in_a_row_are_one_list() -> None:
    ends = Branch(Atom("request.path", Suffix(".b")), B, C, C)
    found = compiled(Branch(Atom("request.path", Suffix(".a")), A, ends, C))

    first: Json = {"predicate": single(headers.PATH, suffix=".a"), "on_match": action(A)}
    second: Json = {"predicate": single(headers.PATH, suffix=".b"), "on_match": action(B)}
    assert found == {"matcher_list": {"matchers": [first, second]}, "on_no_match": action(C)}


def test_the_longest_prefix_is_found_by_envoy_itself() -> None:
    found = compiled(Prefixes("request.path", {"/a": A, "/a/b": B}, (4, 2), C, C))

    table: Json = {"map": {"/a": action(A), "/a/b": action(B)}}
    assert found == {
        "matcher_tree": {"input": read_header(headers.PATH), "prefix_match_map": table},
        "on_no_match": action(C),
    }


def test_what_follows_a_part_that_may_find_nothing_leaves_its_values_out() -> None:
    part = Switch("request.method", {"GET": A}, Next(), Next())
    block = Switch("request.path", {"/a": part}, B, B)
    found = compiled(Listing(((TRUE, block), (TRUE, C))))

    matchers = found["matcher_list"]
    assert isinstance(matchers, dict)
    free: Json = {"predicate": {"not_matcher": single(headers.PATH, exact="/a")}, "on_match": action(B)}
    table: Json = {"map": {"/a": {"matcher": compiled(part)}}}
    inner: Json = {
        "matcher_tree": {"input": read_header(headers.PATH), "exact_match_map": table},
        "on_no_match": {"matcher": {"matcher_list": {"matchers": [free]}}},
    }
    assert matchers["matchers"] == [
        {"predicate": {"not_matcher": single(":method", exact=" ")}, "on_match": {"matcher": inner}}
    ]
    assert found["on_no_match"] == action(C)


def test_a_test_that_no_value_passes_is_left_out() -> None:
    assert compiled(Listing(((Atom("destination.port", Equals("80")), A), (TRUE, B))))["on_no_match"] == action(B)
    assert compiled(A) == {"on_no_match": action(A)}


def test_a_member_of_a_list_is_found_however_json_writes_it() -> None:
    pattern = re2.compile(patterns.json_member('a"ü\\'))

    for text in (r'["a\"ü\\"]', r'["x","a\"\u00fc\\"]', r'["a\u0022\u00FC\u005c","y"]'):
        assert pattern.fullmatch(text)
    for text in (
        r'["a\"ü\\x"]',
        r'["a\"", "ü\\"]',
        r'"a\"ü\\"',
        r'["a\"ü\\",1]',
        r' ["a\"ü\\"]',
        r'["x\",\"a\"ü\\"]',
        "[]",
    ):
        assert not pattern.fullmatch(text)


def test_a_claim_is_asked_for_its_form_only_where_a_list_could_pass_for_the_text() -> None:
    table = compiled(Switch("user.name", {"anna": A, "We": B, "WyJ4Il0=": A}, C, C))["matcher_tree"]
    assert table == {"input": read_header(USER), "exact_match_map": {"map": {"anna": action(A), "We": action(B)}}}
    starts = compiled(Prefixes("user.name", {"anna": A, "e3": B}, (4, 2), C, C))
    assert "matcher_tree" not in starts


def test_an_open_quotation_in_a_pattern_stays_inside() -> None:
    assert re2.compile(f"{patterns.group(chr(92) + 'Qa.b')}(?s:.*)").fullmatch("a.bc")
    assert patterns.group("a|b") == "(?:a|b)"


def test_ranges_of_numbers_are_exact() -> None:
    numbers = [*range(-130, 130), 999, 1000, 1001, LARGEST - 1, LARGEST, -LARGEST]
    for bound in (-LARGEST, -100, -1, 0, 1, 7, 10, 99, 100, 1000, LARGEST):
        pattern = re2.compile(at_least(bound) or "")
        assert [number for number in numbers if pattern.fullmatch(str(number))] == [
            number for number in numbers if number >= bound
        ]
        assert not any(pattern.fullmatch(text) for text in ("", "007", "+7", "-0", "1.0", str(LARGEST + 1)))
    assert at_least(LARGEST + 1) is None


def test_each_attribute_is_found_in_its_header() -> None:
    json = headers.json_header
    assert INPUTS["user.name"] == Plain(USER, Type.STRING, None, json=json("sub"))
    assert INPUTS["user.groups"] == Listed(json("groups"), headers.claim_header("groups"))
    assert INPUTS["request.path"] == Plain(headers.PATH, Type.STRING, None, always=True)
    assert "destination.name" not in INPUTS
