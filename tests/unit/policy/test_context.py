"""From a request to its context: what is read, what is refused, and where it goes."""

from dataclasses import replace

import pytest

from pointsman.model.attribute import AbsentDeny, AbsentValue, Attribute, Claim, Header, Type
from pointsman.model.context import Absent, Context, Request
from pointsman.model.decision import Malformed, Misdirected
from pointsman.model.formula import TRUE
from pointsman.model.policy import Destination, Policy, Rule
from pointsman.model.problem import Place
from pointsman.policy.context import read
from pointsman.policy.destination import canonical_host

ATTRIBUTES = (
    Attribute("user.role", Type.STRING, Claim("role"), AbsentDeny(), ("admin", "dev")),
    Attribute("user.level", Type.INT, Claim("level"), AbsentDeny()),
    Attribute("user.groups", Type.STRINGS, Claim("groups"), AbsentDeny()),
    Attribute("data.label", Type.STRING, Header("x-label"), AbsentValue("secret")),
    Attribute("app.tags", Type.STRINGS, Header("x-tags"), AbsentValue(())),
)
DESTINATIONS = (
    Destination("pay", ("pay.example", "*.pay.example"), ("198.51.100.81/32", "2001:db8::81/128"), ((80, 80),)),
    Destination("old", ("old.pay.example",), any_address=True),
    Destination("lan", (), ("198.51.100.0/24",)),
    Destination("lab", (), ("198.51.100.0/25",), ((22, 22),)),
)
POLICY = Policy("p", "v", ATTRIBUTES, DESTINATIONS, (), (Rule("default", TRUE, None, "", Place()),), None)
REQUEST = Request("http", "GET", "pay.example", "/a?token=1", (), "198.51.100.81", 80, 1000)
FLOW = Request("tcp", "", "", "", (), "198.51.100.81", 80, None)


def fact(name: str, request: Request = REQUEST, claims: dict[str, object] | None = None) -> object:
    context = read(request, POLICY, claims)
    assert isinstance(context, Context)
    value = context.facts[name]
    return "absent" if isinstance(value, Absent) else value


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("PAY.example", "pay.example"),
        ("pay.example.", "pay.example"),
        ("pay.example.:8080", "pay.example"),
        ("[2001:DB8::1]:80", "[2001:db8::1]"),
        ("198.51.100.1", "198.51.100.1"),
        *[(bad, "") for bad in ("", "a..", "a:80a", "a:", "a:0080", "a:99999", "u@a", "a,b", "a b", ".a", "a%2eb")],
        *[(bad, "") for bad in ("[fe80::1%25eth0]", "-a", "a\n", "*.a", "a:80:80")],
    ],
)
def test_a_host_is_compared_in_lower_case_without_port_and_final_dot(authority: str, host: str) -> None:
    assert canonical_host(authority) == host


def test_a_malformed_host_is_refused() -> None:
    assert isinstance(read(replace(REQUEST, host="a,b"), POLICY), Malformed)


def test_two_values_where_one_is_due_are_refused() -> None:
    for lines in ((("x-label", "open"), ("x-label", "inner")), (("x-label", "open,inner"),)):
        assert isinstance(read(replace(REQUEST, headers=lines), POLICY), Malformed)


def test_a_header_is_read_without_its_edges_and_an_empty_one_is_absent() -> None:
    assert fact("data.label", replace(REQUEST, headers=(("x-label", " open\t"),))) == "open"
    assert fact("data.label", replace(REQUEST, headers=(("x-label", " "),))) == "absent"
    assert fact("app.tags", replace(REQUEST, headers=(("x-tags", "a, b"), ("x-tags", "c")))) == ("a", "b", "c")


def test_the_path_is_read_without_its_query() -> None:
    assert fact("request.path") == "/a"


def test_claims_count_only_from_a_verified_token_and_only_of_their_type() -> None:
    assert fact("user.role") == "absent"
    assert fact("user.role", claims={"role": "admin"}) == "admin"
    assert fact("user.role", claims={"role": "root"}) == "absent"
    assert fact("user.role", claims={"role": ["admin"]}) == "absent"
    assert fact("user.level", claims={"level": 3}) == fact("user.level", claims={"level": "3"}) == 3
    assert fact("user.level", claims={"level": 1e5}) == fact("user.level", claims={"level": "100000"}) == 100000
    assert fact("user.level", claims={"level": -7}) == fact("user.level", claims={"level": "-7.000000"}) == -7
    assert fact("user.level", claims={"level": 2**53}) == fact("user.level", claims={"level": 1.5}) == "absent"
    assert fact("user.level", claims={"level": "03"}) == fact("user.level", claims={"level": True}) == "absent"
    assert fact("user.groups", claims={"groups": ["a", "b"]}) == ("a", "b")
    assert fact("user.groups", claims={"groups": ["a", 1]}) == "absent"


@pytest.mark.parametrize(
    ("host", "address", "port", "name"),
    [
        ("pay.example", "198.51.100.81", 80, "pay"),
        ("x.y.pay.example", "2001:db8::81", 80, "pay"),
        ("old.pay.example", "203.0.113.9", 443, "old"),
        ("pay.example", "198.51.100.81", 81, "lan"),
        ("evil.example", "198.51.100.81", 80, "lan"),
        ("evil.example", "203.0.113.9", 80, ""),
    ],
)
def test_a_request_goes_where_its_host_says_else_where_its_address_says(
    host: str, address: str, port: int, name: str
) -> None:
    assert fact("destination.name", replace(REQUEST, host=host, address=address, port=port)) == name


def test_a_request_to_another_address_than_its_host_has_is_misdirected() -> None:
    assert read(replace(REQUEST, address="203.0.113.9"), POLICY) == Misdirected("pay", "203.0.113.9")


def test_a_flow_that_fits_several_destinations_could_mean_any_of_them() -> None:
    several = read(FLOW, POLICY)
    assert isinstance(several, Context)
    assert several.facts["destination.name"] == Absent(
        "several destinations have this address and port", ("pay", "lan")
    )
    assert fact("destination.name", replace(FLOW, port=81)) == "lan"


def test_a_flow_has_neither_method_nor_path_nor_host_nor_user() -> None:
    flow = replace(FLOW, port=81)
    assert [fact(name, flow) for name in ("request.method", "request.path", "request.host", "process.uid")] == [
        "absent"
    ] * 4
    assert fact("request.protocol", flow) == "tcp"


def test_an_address_in_ipv6_form_of_ipv4_is_ipv4() -> None:
    assert fact("destination.address", replace(REQUEST, address="::ffff:198.51.100.81")) == "198.51.100.81"
