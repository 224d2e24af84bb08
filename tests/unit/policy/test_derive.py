"""Operation and catalogue: the formulas say what plain reading says, on every kind of request."""

from itertools import product

import pytest

from pointsman.model.attribute import Value
from pointsman.model.context import Absent
from pointsman.model.formula import Atom, Equals, Not
from pointsman.model.policy import Destination
from pointsman.policy import derive
from pointsman.policy.derive import Substitution, Table
from pointsman.policy.evaluate import satisfied
from pointsman.policy.runtime import look_up, operation
from pointsman.policy.schema import CatalogueEntry, CatalogueSpec, Override

PATHS = (
    "/", "*", "/v1", "/v1/", "/v1x", "/v1-x", "/v1/a", "/v1/a/b", "/v1/ab", "/v2", "/healthz", "/healthz/x",
    "/pkg.Svc/Get", "/pkg.Svc/GetUser", "/pkg.Svc/Getaway", "/pkg.Svc/List2", "/pkg.Svc/Listen", "/pkg.Svc/DeleteAll",
    "/pkg.Svc/Deleted", "/pkg.Svc/Remove_x", "/pkg.Svc/Create", "/a/b/GetX", "/Get",
)  # fmt: skip
METHODS = ("GET", "HEAD", "OPTIONS", "TRACE", "POST", "PUT", "PATCH", "DELETE", "PROPFIND", "get")
PLACES = ("records", "public", "")
SPOKEN = (Destination("records", grpc_ports=((443, 443),)), Destination("public", grpc_ports=((8000, 9000),)))


def requests() -> list[dict[str, Value | Absent]]:
    web = [
        {
            "request.protocol": protocol,
            "request.method": method,
            "request.path": path,
            "destination.name": name,
            "destination.port": port,
        }
        for protocol, method, path, name, port in product(("http", "grpc"), METHODS, PATHS, PLACES, (80, 443, 8443))
    ]
    plain = [
        {
            "request.protocol": "tcp",
            "request.method": "",
            "request.path": "",
            "destination.name": name,
            "destination.port": 443,
        }
        for name in PLACES
    ]
    return [*web, *plain]  # type: ignore[list-item]


def values(table: Table, facts: dict[str, Value | Absent]) -> list[Value]:
    return [value for value in table.values if satisfied(table.formula(value), facts)]


OVERRIDES = (
    (),
    (Override(method="POST", path="/healthz", operation="read"),),
    (
        Override(destination="records", grpc="pkg.Svc/*", operation="admin"),
        Override(grpc="pkg.Svc/Create", operation="grant"),
        Override(destination="public", operation="read"),
        Override(path="/v1/", operation="admin"),
        Override(method="PROPFIND", operation="read"),
    ),
)


@pytest.mark.parametrize("overrides", OVERRIDES)
def test_every_request_has_exactly_the_operation_of_plain_reading(overrides: tuple[Override, ...]) -> None:
    table = derive.operation(overrides, SPOKEN)

    for facts in requests():
        assert values(table, facts) == [operation(facts, overrides, SPOKEN)], facts  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("protocol", "method", "path", "expected"),
    [
        ("http", "GET", "/", "read"),
        ("http", "PATCH", "/", "write"),
        ("http", "DELETE", "/", "delete"),
        ("http", "get", "/", "other"),
        ("grpc", "POST", "/pkg.Svc/GetUser", "read"),
        ("grpc", "POST", "/pkg.Svc/Get", "read"),
        ("grpc", "POST", "/pkg.Svc/Getaway", "write"),
        ("grpc", "POST", "/pkg.Svc/Listen", "write"),
        ("grpc", "POST", "/pkg.Svc/RemoveUser", "delete"),
        ("tcp", "", "", "connect"),
    ],
)
def test_the_operation_follows_from_method_or_name(protocol: str, method: str, path: str, expected: str) -> None:
    facts: dict[str, Value] = {
        "request.protocol": protocol,
        "request.method": method,
        "request.path": path,
        "destination.name": "records",
        "destination.port": 443,
    }

    assert operation(facts, (), SPOKEN) == expected


@pytest.mark.parametrize(("place", "port"), [("records", 80), ("", 443), ("public", 443)])
def test_what_only_looks_like_grpc_counts_as_the_post_that_a_server_takes_it_for(place: str, port: int) -> None:
    overrides = (Override(method="POST", path="/v1", operation="admin"), Override(grpc="pkg.Svc/*", operation="read"))
    looks = {"request.protocol": "grpc", "request.method": "POST", "destination.name": place, "destination.port": port}
    expected = {"/x/GetY": "write", "/v1/GetY": "admin", "/pkg.Svc/GetUser": "write"}

    assert {path: operation({**looks, "request.path": path}, overrides, SPOKEN) for path in expected} == expected


CATALOGUE = (
    CatalogueEntry(destination="records", value="secret"),
    CatalogueEntry(destination="records", path="/v1", value="open"),
    CatalogueEntry(destination="records", path="/v1/", value="secret"),
    CatalogueEntry(destination="records", path="/v1/a", value="open"),
    CatalogueEntry(destination="records", path="/v1/a/b", value="secret"),
    CatalogueEntry(destination="public", path="/v1", value="open"),
    CatalogueEntry(destination="public", path="/v1-x", value="secret"),
)


@pytest.mark.parametrize("count", range(len(CATALOGUE) + 1))
def test_the_catalogue_gives_the_value_of_the_longest_path(count: int) -> None:
    spec = CatalogueSpec(values=["open", "secret", "none"], absent="none", entries=list(CATALOGUE[:count]))
    table = derive.catalogue("data.label", spec)

    for facts in requests():
        assert values(table, facts) == [look_up(facts, spec)], facts  # type: ignore[arg-type]


def test_a_path_holds_what_lies_below_it_and_not_what_only_begins_like_it() -> None:
    spec = CatalogueSpec(
        values=["in", "out"], absent="out", entries=[CatalogueEntry(destination="records", path="/v1", value="in")]
    )
    found = {
        path: look_up({"destination.name": "records", "request.path": path}, spec)
        for path in ("/v1", "/v1/", "/v1/x", "/v1x", "/v1%2fx", "/")
    }

    assert found == {"/v1": "in", "/v1/": "in", "/v1/x": "in", "/v1x": "out", "/v1%2fx": "out", "/": "out"}


def test_where_nothing_is_listed_and_absent_is_deny_the_value_stays_open() -> None:
    spec = CatalogueSpec(values=["open", "secret"], absent="deny", entries=list(CATALOGUE))
    table = derive.catalogue("data.label", spec)
    nowhere: dict[str, Value | Absent] = {"destination.name": "", "request.path": "/"}

    assert values(table, nowhere) == []
    assert values(table, nowhere | {"data.label": "secret"}) == ["secret"]
    assert values(table, nowhere | {"destination.name": "records", "data.label": "open"}) == ["secret"]


def test_substitution_leaves_no_derived_attribute_and_shares_equal_parts() -> None:
    table = derive.operation(())
    substitution = Substitution([table])
    asked = Atom("operation", Equals("read"))

    assert substitution.apply(asked) is substitution.apply(asked)
    assert "operation" not in str(substitution.apply(Not(asked)))
