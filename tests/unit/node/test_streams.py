from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pointsman.model.context import Request
from pointsman.node.streams import Running, again, cuts, key_of, understand
from pointsman.policy.diagram import Compiled, compile_policy
from pointsman.policy.load import load

KEYS = (Path(__file__).parents[3] / "examples" / "keys.json").read_bytes()
POLICY = """
apiVersion: pointsman/v1
kind: Policy
metadata: {name: streams}
identity: {jwt: {header: x-identity-token, issuer: "https://id.example", audiences: [pointsman], keys: keys.json}}
attributes:
  user.role: {type: string, claim: role, absent: guest}
  app.tenant: {type: string, header: x-tenant, trust: declared, absent: none}
destinations:
  - {name: shop, hosts: [shop.example], addresses: [198.51.100.80], ports: [80]}
  - {name: echo, addresses: [198.51.100.81], ports: [7000]}
profiles: [{name: vault, encryption: strong}, {name: plain, encryption: none}]
rules:
RULES
default: {deny: true}
"""


def compiled(*rules: str) -> Compiled:
    text = POLICY.replace("RULES", "\n".join(f"  - {rule}" for rule in rules))
    return compile_policy(load(text.encode(), "policy.yaml", lambda _: KEYS).policy)


def record(**more: object) -> dict[str, Any]:
    return {
        "kind": "http",
        "decision": "d1",
        "time": "2026-11-25T17:00:00.500Z",
        "lane": "vault@a",
        "client": "192.0.2.10:5000",
        "source": "10.71.0.2:6000",
        "destination": "198.51.100.80:80",
        "protocol": "HTTP/2",
        "method": "POST",
        "authority": "shop.example:80",
        "path": "/shop.Store/Watch",
        "content_type": "application/grpc",
        "claims": {"role": "admin"},
        "headers": {"x-tenant": None},
        "sent": 0,
        **more,
    }


def running(**more: object) -> Running:
    made = understand(record(**more))
    assert made is not None
    return made


def test_a_record_tells_how_it_was_decided_its_sockets_and_its_facts() -> None:
    made = running(headers={"x-tenant": "gold", "x-other": None})

    assert (made.key, made.profile, made.began) == ("d1", "vault", 1795626000.5)
    assert (made.back, made.out) == (
        ("192.0.2.10:5000", "198.51.100.80:80"),
        ("10.71.0.2:6000", "198.51.100.80:80"),
    )
    assert made.request == Request(
        "grpc",
        "POST",
        "shop.example:80",
        "/shop.Store/Watch",
        (("x-tenant", "gold"),),
        "198.51.100.80",
        80,
        None,
    )


@pytest.mark.parametrize(
    ("more", "protocol"),
    [
        ({}, "grpc"),
        ({"content_type": "application/grpc+proto"}, "grpc"),
        ({"content_type": None}, "http"),
        ({"protocol": "HTTP/1.1"}, "http"),
    ],
)
def test_the_protocol_is_read_as_the_proxy_reads_it(more: dict[str, object], protocol: str) -> None:
    assert running(**more).request.protocol == protocol


def test_a_plain_flow_has_an_address_and_a_key_of_its_own() -> None:
    flow = {key: record()[key] for key in ("time", "lane", "client", "source")}
    seen = [understand({**flow, "kind": "tcp", "decision": name, "destination": "[2001:db8::1]:7000"}) for name in "ab"]

    assert seen[0] is not None
    assert seen[0] == seen[1]
    assert (seen[0].request.protocol, seen[0].request.address, seen[0].request.port) == ("tcp", "2001:db8::1", 7000)


@pytest.mark.parametrize("key", ["destination", "time", "lane", "kind", "path"])
def test_a_record_that_does_not_tell_all_is_none(key: str) -> None:
    assert understand({name: value for name, value in record().items() if name != key}) is None


def test_what_ended_has_the_key_of_what_ran() -> None:
    assert key_of({"kind": "http", "decision": "d1", "code": 200}) == running().key


WATCH = '{name: watch, when: request.path == "/shop.Store/Watch", profile: vault}'
DENIED = '{name: never, when: request.path == "/shop.Store/Watch", deny: true}'
PLAIN = '{name: cheap, when: request.path == "/shop.Store/Watch", profile: plain}'
ADMIN = '{name: admins, when: user.role == "admin", profile: vault}'
TENANT = '{name: gold, when: app.tenant == "gold", profile: plain}'
USER = "{name: one, when: process.uid == 1000, profile: vault}"
ECHO = '{name: echoing, when: destination.name == "echo", profile: vault}'


@pytest.mark.parametrize(
    ("rules", "more", "uid", "why"),
    [
        ((WATCH,), {}, 1000, ""),
        ((DENIED,), {}, 1000, "rule `never` denies it"),
        ((ADMIN,), {"path": "/x"}, 1000, ""),
        ((ADMIN,), {"claims": {"sub": "ada"}}, 1000, "rule `default` denies it"),
        ((ADMIN,), {"claims": None}, 1000, "rule `default` denies it"),  # a token was looked for
        ((PLAIN,), {}, 1000, "rule `cheap` gives it profile `plain`"),
        ((USER,), {}, 1000, ""),
        ((USER,), {}, 1001, "rule `default` denies it"),
        ((WATCH,), {}, None, ""),  # whose it is does not matter
        ((WATCH,), {"authority": "shop.example", "destination": "198.51.100.99:80"}, 1000, "misdirected"),
    ],
)
def test_what_runs_is_decided_again_by_the_policy_in_force(
    rules: tuple[str, ...], more: dict[str, object], uid: int | None, why: str
) -> None:
    found = again(running(**more), compiled(*rules), uid)

    assert why in found if why else found == ""


@pytest.mark.parametrize(
    ("rules", "more", "uid", "fact"),
    [
        ((TENANT, WATCH), {"headers": {}}, 1000, "app.tenant"),
        ((USER,), {}, None, "process.uid"),
    ],
)
def test_what_would_rest_on_a_fact_that_nobody_noted_ends(
    rules: tuple[str, ...], more: dict[str, object], uid: int | None, fact: str
) -> None:
    assert f"`{fact}`, which was not noted" in again(running(**more), compiled(*rules), uid)


def test_a_plain_flow_is_decided_again_by_address_and_user() -> None:
    flow = running(kind="tcp", destination="198.51.100.81:7000")

    assert again(flow, compiled(ECHO), 1000) == ""
    assert again(flow, compiled(WATCH), 1000) == "rule `watch` denies it, as it has no `request.path`"


def test_a_plain_flow_has_no_token_and_no_header_that_could_be_missing() -> None:
    flow = {key: record()[key] for key in ("time", "lane", "client", "source")}
    seen = understand({**flow, "kind": "tcp", "decision": "d", "destination": "198.51.100.81:7000"})

    assert seen is not None
    assert again(seen, compiled(ADMIN, TENANT, ECHO), 1000) == ""


def stream(key: str, client: str, source: str) -> Running:
    return replace(running(), key=key, client=client, source=source)


AT = "198.51.100.80:80"


def test_what_nobody_shares_is_cut_on_both_sides_the_applications_first() -> None:
    every = [stream("a", "c1", "s1"), stream("b", "c2", "s2")]

    assert cuts(every, {"a"}) == [("c1", AT), ("s1", AT)]


@pytest.mark.parametrize(
    ("others", "cut"),
    [
        ([("c2", "s1")], [("c1", AT)]),  # the socket to the origin is shared with another application
        ([("c1", "s2")], [("s1", AT)]),  # that of the application with a call that another lane carries
        ([("c1", "s2"), ("c1", "s3"), ("c2", "s1")], [("s1", AT)]),
        ([("c2", "s1"), ("c3", "s1"), ("c1", "s2")], [("c1", AT)]),
        ([("c1", "s1")], [("c1", AT)]),  # both are shared with the same
    ],
)
def test_where_others_share_a_socket_the_one_goes_that_fewer_share(
    others: list[tuple[str, str]], cut: list[tuple[str, str]]
) -> None:
    every = [stream("a", "c1", "s1"), *(stream(f"o{n}", *ends) for n, ends in enumerate(others))]

    assert cuts(every, {"a"}) == cut


def test_those_that_end_anyway_do_not_count_as_others() -> None:
    every = [stream("a", "c1", "s1"), stream("b", "c2", "s1")]

    assert cuts(every, {"a", "b"}) == [("c1", AT), ("c2", AT), ("s1", AT)]


def test_what_would_rest_on_a_claim_ends_where_no_token_was_looked_for() -> None:
    seen = understand({name: value for name, value in record().items() if name != "claims"})

    assert seen is not None
    assert "`user.role`, which was not noted" in again(seen, compiled(ADMIN), 1000)
    assert again(seen, compiled(WATCH), 1000) == ""
