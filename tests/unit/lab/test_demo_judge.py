from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jwt
import pytest

from pointsman.lab import keys
from pointsman.lab.demo import script
from pointsman.lab.demo.judge import (
    NEW,
    Decided,
    Held,
    Observed,
    Ways,
    decided,
    differences,
    settled,
    shared,
    too_many,
)
from pointsman.lab.demo.script import By, Call
from pointsman.policy.diagram import compile_policy
from pointsman.policy.load import load_policy

EXAMPLES = Path(__file__).parents[3] / "examples"
POLICY = load_policy(
    (EXAMPLES / "policy.yaml").read_bytes(), "policy.yaml", lambda name: (EXAMPLES / name).read_bytes()
)
COMPILED = compile_policy(POLICY, {})
ADA, ANN = ("vault", "ada"), ("vault", "ann")
WAYS = Ways({"plain": "direct", "payments": "ovpn-c"})
NEWS = Call(By.CURL, "", "GET", "public.example", "/news", "2001:db8:2::80", 80)
PLAIN = Decided("nobody", "public", "read", "public-read", "plain", "direct", 200, ("2001:db8:1::10",), clear=True)
FIRST = Decided(
    *("ada admin", "confidential", "read", "admin-confidential", "vault", NEW, 200),
    ("198.51.100.21", "198.51.100.22"),
    holder="ada",
)
STAYS = Decided("nobody", "public", "write", "default", "", "", 403, ())


@pytest.fixture
def ada(tmp_path: Path) -> Callable[[Ways], Decided]:
    """What ada's request for a record should become, by the policy with a key of this test."""
    (tmp_path / "private").mkdir()
    keys.issue(tmp_path / "private", tmp_path / "keys.json")
    text = (EXAMPLES / "policy.yaml").read_bytes()
    policy = load_policy(text, "policy.yaml", lambda name: (tmp_path / name).read_bytes())
    claims = {"iss": "https://id.example", "aud": "pointsman", "exp": 100, "sub": "ada", "role": "admin"}
    token = jwt.encode(claims, (tmp_path / "private/ES256.pem").read_text(), "ES256", headers={"kid": "ES256"})
    return lambda ways: decided(compile_policy(policy, {}), script.ADA, token, 0.0, ways)


def judge(call: Call, ways: Ways = WAYS) -> Decided:
    return decided(COMPILED, call, "", 0.0, ways)


def test_a_permitted_call_is_expected_from_the_address_of_its_tunnel_in_its_own_family() -> None:
    assert judge(NEWS) == PLAIN


def test_a_denied_call_is_expected_to_stay() -> None:
    assert judge(replace(NEWS, method="POST")) == STAYS


def test_a_call_to_the_address_of_another_destination_is_expected_to_be_misdirected() -> None:
    assert judge(replace(NEWS, address="198.51.100.82")).status == 421


def test_forged_headers_and_plain_bytes_are_expected_to_be_denied() -> None:
    assert [judge(call).sources for call in script.ATTEMPTS] == [(), (), (), ()]
    assert [judge(call).status for call in script.ATTEMPTS] == [403, 403, 421, 0]


def test_a_call_through_a_tunnel_that_is_dead_or_missing_is_expected_to_be_refused() -> None:
    refused = replace(PLAIN, status=503, sources=())

    assert replace(judge(NEWS, replace(WAYS, dead=frozenset({"direct"}))), clear=True) == refused
    assert replace(judge(NEWS, Ways({})), clear=True) == replace(refused, tunnel="")


def test_a_first_request_is_expected_from_any_gateway_that_fits_and_lives(ada: Callable[[Ways], Decided]) -> None:
    assert ada(WAYS) == FIRST
    assert ada(replace(WAYS, dead=frozenset({"gw-b"}))) == replace(FIRST, sources=("198.51.100.21",))
    assert ada(replace(WAYS, dead=frozenset({"gw-a", "gw-b"}))) == replace(FIRST, status=503, sources=())


def test_a_later_request_is_expected_from_the_gateway_of_its_holders_tunnel(ada: Callable[[Ways], Decided]) -> None:
    held = replace(WAYS, held={ADA: Held("gw-b-1", "gw-b"), ANN: Held("gw-a-1", "gw-a")})
    later = replace(FIRST, tunnel="gw-b-1", sources=("198.51.100.22",))

    assert ada(held) == later
    assert ada(replace(held, dead=frozenset({"gw-b"}))) == replace(FIRST, sources=("198.51.100.21",))
    assert ada(replace(held, barred=frozenset({ADA}))) == replace(FIRST, tunnel="", status=503, sources=())


def test_a_first_request_has_come_by_the_tunnel_that_its_holder_has_afterwards() -> None:
    def after(held: Held) -> Decided:
        return settled(FIRST, replace(WAYS, held={ADA: held}))

    assert after(Held("gw-b-1", "gw-b")) == replace(FIRST, tunnel="gw-b-1", sources=("198.51.100.22",))
    assert after(Held("gw-c-1", "gw-c")).sources == (), "no gateway that fits"
    assert settled(FIRST, WAYS).sources == (), "no tunnel of its own"
    assert settled(PLAIN, WAYS) == PLAIN


def test_a_holders_tunnel_is_nobody_elses() -> None:
    mine, other = Held("gw-a-1", "gw-a"), Held("gw-a-2", "gw-a")
    call = replace(FIRST, tunnel="gw-a-1")

    assert shared(call, replace(WAYS, held={ADA: mine, ANN: other})) == ()
    assert shared(call, replace(WAYS, held={ADA: mine, ANN: mine})) == ("its tunnel is ann's, too",)


def test_a_grpc_refusal_has_a_grpc_status() -> None:
    call = Call(By.GRPC, "", "POST", "records.example", "/Patients/Get", script.FRONT, 50051)

    assert judge(call).status == 7


def test_a_path_as_decided_has_no_differences() -> None:
    assert differences(PLAIN, Observed(200, PLAIN.sources)) == ()
    assert differences(STAYS, Observed(403, ())) == ()


def test_every_difference_is_named() -> None:
    assert differences(PLAIN, Observed(200, ("198.51.100.21",))) == ("came from 198.51.100.21, decided direct",)
    assert differences(PLAIN, Observed(200, ())) == ("did not reach the origin",)
    assert differences(PLAIN, Observed(0, (), "refused")) == (
        "answer 0 (refused), decided 200",
        "did not reach the origin",
    )
    assert differences(STAYS, Observed(403, ("192.0.2.10",))) == (
        "reached the origin from 192.0.2.10, decided to stay",
    )
    assert differences(PLAIN, Observed(200, PLAIN.sources * 2)) == ("reached the origin 2 times",)


def test_a_limit_lets_through_its_burst_and_what_flows_in_meanwhile() -> None:
    assert too_many(passed=9, limited=7, rate=5, burst=10, seconds=0.1) == ()
    assert too_many(passed=16, limited=0, rate=5, burst=10, seconds=0.1) == (
        "16 passed, decided at most 15",
        "none was limited",
    )
