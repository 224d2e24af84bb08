from dataclasses import replace
from pathlib import Path

from pointsman.lab.demo import script
from pointsman.lab.demo.judge import Decided, Observed, decided, differences, too_many
from pointsman.lab.demo.script import By, Call
from pointsman.policy.diagram import compile_policy
from pointsman.policy.load import load_policy

EXAMPLES = Path(__file__).parents[3] / "examples"
POLICY = load_policy(
    (EXAMPLES / "policy.yaml").read_bytes(), "policy.yaml", lambda name: (EXAMPLES / name).read_bytes()
)
COMPILED = compile_policy(POLICY, {})
WAYS = {"vault": "wg-a", "plain": "direct", "payments": "ovpn-c"}
NEWS = Call(By.CURL, "", "GET", "public.example", "/news", "2001:db8:2::80", 80)
PLAIN = Decided("nobody", "public", "read", "public-read", "plain", "direct", 200, ("2001:db8:1::10",), clear=True)
STAYS = Decided("nobody", "public", "write", "default", "", "", 403, ())


def judge(call: Call, ways: dict[str, str] = WAYS, dead: tuple[str, ...] = ()) -> Decided:
    return decided(COMPILED, call, "", 0.0, ways, dead)


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

    assert replace(judge(NEWS, dead=("direct",)), clear=True) == refused
    assert replace(judge(NEWS, ways={}), clear=True) == replace(refused, tunnel="")


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
