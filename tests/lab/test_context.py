"""What is believed of a request, what it is denied by, and what the origin gets to see of it."""

import base64
import hmac
import json
import time
from collections.abc import Iterator

import jwt
import pytest

from pointsman.lab import clients, instance, world
from pointsman.lab.names import Lab
from pointsman.lab.watch import Witness
from tests.lab.steered import POLICY, SHARED, Steered, seen_in_clear, steering

FAMILIES = pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
GRPC_DENIED = 7
# What the proxy is allowed to add to a request on its way. The rest of a request is the application's own.
ADDED: set[str] = {"x-forwarded-proto"}


@pytest.fixture(scope="module")
def host(lab: Lab, witness: Witness) -> Iterator[Steered]:
    with steering(lab, POLICY) as made:
        assert seen_in_clear(made, witness, "http1", "http2", "grpc", "websocket") == 4
        yield made


def test_a_websocket_that_is_denied_does_not_open(host: Steered, witness: Witness) -> None:
    with clients.connected(host.lab, SHARED[0], 80, "websocket") as client:
        assert client.ask("/ws", host="records.example", headers=[witness.secret]).status == 403


def test_a_denied_request_is_told_by_which_rule_and_decision(host: Steered, witness: Witness) -> None:
    before = len(instance.reached(host.lab))
    with clients.connected(host.lab, SHARED[0], 80) as client:
        headers = [witness.secret]
        denied = client.ask("/drafts/x", host="public.example", headers=headers)
        default = client.ask("/", host="records.example", headers=headers)
        after = client.ask("/", host="public.example")

    assert (denied.status, denied.header("content-type")) == (403, "application/problem+json")
    body = denied.json()
    assert (body["type"], body["status"], body["rule"]) == ("urn:pointsman:denied", 403, "no-drafts")
    assert len(body["decision"]) == 36
    assert (default.json()["rule"], default.json()["decision"] != body["decision"]) == ("default", True)
    assert after.status == 200  # the connection goes on
    assert len(instance.reached(host.lab)) == before + 1


def test_a_denied_grpc_call_has_status_7_and_names_the_rule(host: Steered, witness: Witness) -> None:
    with clients.connected(host.lab, SHARED[0], 50051, "grpc") as client:
        said = witness.canary.decode()
        denied = client.ask("/shop.Store/GetItem", host="records.example", headers=[witness.secret], body=said)

    assert denied.status == GRPC_DENIED
    assert "default" in denied.error


FORGED = [
    ("x-pointsman-claim-role", "admin"),
    ("X-Pointsman-Claim-Role", "admin"),
    ("x-pointsman-entry", "0"),
    ("x-pointsman-path", "/"),
    ("x-pointsman-address", "198.51.100.80"),
]


@pytest.mark.parametrize("kind", ["http1", "http2"])
def test_forged_context_headers_without_a_token_earn_nothing(host: Steered, witness: Witness, kind: str) -> None:
    with clients.connected(host.lab, SHARED[0], 80, kind) as client:
        forged = [(name.lower(), value) for name, value in FORGED] if kind == "http2" else FORGED
        headers = [*forged, witness.secret]
        assert client.ask("/patients/7", host="records.example", headers=headers).status == 403
        seen = client.ask("/news", host="public.example", headers=forged).json()

    assert [name for name, _ in seen["headers"] if name.lower().startswith("x-pointsman")] == []


def test_no_context_of_ours_and_no_token_reaches_the_origin(host: Steered, witness: Witness) -> None:
    headers = [host.token(role="admin"), witness.secret]
    with clients.connected(host.lab, SHARED[0], 80) as client:
        seen = client.ask("/patients/7", host="records.example", headers=headers).json()

    assert [name for name, _ in seen["headers"] if name.startswith("x-")] == ["x-canary"]


def wrong_tokens(lab: Lab) -> dict[str, str]:
    now = int(time.time())
    full = {"iss": world.ISSUER, "aud": world.AUDIENCE, "exp": now + 600, "sub": "ada", "role": "admin"}
    public = (lab.node / "keys.json").read_bytes()
    stranger = jwt.encode(full, "not the issuer's secret, but long enough", algorithm="HS256", headers={"kid": "ES256"})
    good = clients.token(lab, sub="ada", role="admin")
    head, claims, _ = good.split(".")
    return {
        "none": jwt.encode(full, None, algorithm="none"),
        "public key as secret": _shared(full, public),
        "foreign key": stranger,
        "issuer": clients.token(lab, iss="https://other.example", sub="ada", role="admin"),
        "audience": clients.token(lab, aud="other", sub="ada", role="admin"),
        "expired": clients.token(lab, lifetime=-3600, sub="ada", role="admin"),
        "not yet": clients.token(lab, nbf=now + 3600, sub="ada", role="admin"),
        "no signature": f"{head}.{claims}.",
        "signature of other claims": f"{head}.{claims}.{clients.token(lab, role='guest').rpartition('.')[2]}",
        "role of another type": clients.token(lab, sub="ada", role=["admin", "guest"]),
        "role in another case": clients.token(lab, sub="ada", role="Admin"),
        "nonsense": "a.b.c",
    }


def _shared(claims: dict[str, object], secret: bytes) -> str:
    """Sign by hand: the library refuses to take a public key for a secret."""
    parts = ({"alg": "HS256", "kid": "RS256", "typ": "JWT"}, claims)
    said = b".".join(_base64(json.dumps(part).encode()) for part in parts)
    return (said + b"." + _base64(hmac.digest(secret, said, "sha256"))).decode()


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def test_a_token_that_does_not_verify_gives_no_user(host: Steered, witness: Witness) -> None:
    secret = witness.secret
    with clients.connected(host.lab, SHARED[0], 80) as client:
        statuses = {
            name: client.ask("/", host="records.example", headers=[("x-identity-token", token), secret]).status
            for name, token in wrong_tokens(host.lab).items()
        }
        public = client.ask("/", host="public.example", headers=[("x-identity-token", "a.b.c")])

    assert statuses == dict.fromkeys(statuses, 403)
    assert public.status == 200  # it is no error to have none


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_tokens_of_every_key_of_the_issuer_are_good(host: Steered, witness: Witness, algorithm: str) -> None:
    token = clients.token(host.lab, algorithm, sub="ada", role="admin")
    with clients.connected(host.lab, SHARED[0], 80) as client:
        answer = client.ask("/", host="records.example", headers=[("x-identity-token", token), witness.secret])

    assert answer.json()["source"] == world.seen_as("wg-a")[0]


def test_the_origin_gets_the_headers_that_were_sent(host: Steered) -> None:
    sent = [
        ("accept", "*/*"),
        ("user-agent", "probe/1.0 (a; b)"),
        ("x-case", "MiXeD  Case"),
        ("cookie", "a=1; b=2"),
        ("authorization", "Bearer of.something.else"),
        ("x-forwarded-for", "203.0.113.9"),
    ]
    with clients.connected(host.lab, SHARED[0], 8081) as client:
        seen = client.ask("/a/b?c=d%20e", host="public.example", headers=sent).json()

    line, *headers = seen["body"].strip().split("\r\n")
    found = [tuple(header.split(": ", 1)) for header in headers]
    assert line == "GET /a/b?c=d%20e HTTP/1.1"
    assert [pair for pair in found if pair[0].lower() not in ADDED] == [("host", "public.example"), *sent]


EXPECT = b"POST %b HTTP/1.1\r\nHost: %b\r\nContent-Length: %d\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n%b"


def test_the_origin_says_continue_and_a_denied_request_is_never_told_to(host: Steered, witness: Witness) -> None:
    said = witness.canary
    allowed = host.talk(SHARED[0], 80, EXPECT % (b"/upload", b"public.example", 5, b"hello"))
    denied = host.talk(SHARED[0], 80, EXPECT % (b"/drafts/", b"public.example", len(said), said))

    assert b"HTTP/1.1 200" in allowed
    assert denied.startswith(b"HTTP/1.1 403")
    assert b"100 Continue" not in denied


@FAMILIES
def test_a_name_does_not_lead_to_an_address_of_another_destination(
    host: Steered, witness: Witness, family: int
) -> None:
    address = ("198.51.100.80", "2001:db8:2::80")[family]
    headers = [host.token(role="admin"), witness.secret]
    with clients.connected(host.lab, address, 80) as client:
        answer = client.ask("/patients/7", host="records.example", headers=headers)

    assert (answer.status, answer.json()["type"]) == (421, "urn:pointsman:misdirected")


MALFORMED = [b"rec ords.example", b"records.example,public.example", b"records.example@public.example", b"", b".."]


@pytest.mark.parametrize("name", MALFORMED)
def test_a_host_that_is_none_is_answered_400(host: Steered, witness: Witness, name: bytes) -> None:
    fields = b"Host: %b\r\nX-Canary: %b\r\nConnection: close\r\n\r\n" % (name, witness.canary)
    answer = host.talk(SHARED[0], 80, b"GET / HTTP/1.1\r\n" + fields)

    assert answer.startswith(b"HTTP/1.1 400")
