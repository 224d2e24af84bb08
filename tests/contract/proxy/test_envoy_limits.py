"""Request limits in a real Envoy: what they count, and that nothing refills them but time."""

from dataclasses import replace

from pointsman.lab.clients import connected, token
from pointsman.lab.names import Lab

from .conftest import Proxy

ADDRESS, HOST = "198.51.100.80", "public.example"


def _statuses(lab: Lab, count: int, user: str = "", path: str = "/limited") -> list[int]:
    headers = (("authorization", f"Bearer {token(lab, sub=user)}"),) if user else ()
    with connected(lab, ADDRESS, 80) as client:
        return [client.ask(path, host=HOST, headers=headers).status for _ in range(count)]


def test_a_user_is_limited_and_others_are_not(lab: Lab, proxy: Proxy) -> None:
    anna, bert = _statuses(lab, 8, "anna"), _statuses(lab, 3, "bert")
    assert anna[:5] == [200] * 5
    assert anna.count(429) >= 2
    assert bert == [200] * 3


def test_requests_without_a_user_count_as_one_user(lab: Lab, proxy: Proxy) -> None:
    assert _statuses(lab, 8).count(429) >= 2
    with connected(lab, ADDRESS, 80) as client:
        answers = [client.ask("/limited/other", host=HOST) for _ in range(3)]
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.header("retry-after") == "1"
    assert refused.json()["type"] == "urn:pointsman:limited"
    assert refused.json()["rule"] == "to-limited"


def test_a_call_over_its_limit_is_resource_exhausted(lab: Lab, proxy: Proxy) -> None:
    headers = (("authorization", f"Bearer {token(lab, sub='carl')}"),)
    with connected(lab, ADDRESS, 50051, "grpc") as client:
        assert 8 in [client.ask("/limited/Call", host=HOST, headers=headers).status for _ in range(8)]


def test_a_new_policy_or_way_refills_nothing(lab: Lab, proxy: Proxy) -> None:
    assert _statuses(lab, 8, "dora").count(429) >= 2
    first = proxy.policy.rules[0]
    for name in ("renamed", first.name):
        changed = replace(proxy.policy, rules=(replace(first, name=name), *proxy.policy.rules[1:]))
        proxy.publish(proxy.files(changed))
        assert _statuses(lab, 6, "dora").count(429) >= 3


def test_the_profile_limit_counts_all_users_together(lab: Lab, proxy: Proxy) -> None:
    statuses = [status for number in range(12) for status in _statuses(lab, 4, f"user{number}")]
    assert 429 in statuses
