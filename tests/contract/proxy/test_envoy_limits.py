"""Request limits in a real Envoy: what they count, and that nothing refills them but time."""

from dataclasses import replace

from pointsman.lab.clients import connected, token
from pointsman.lab.names import Lab
from pointsman.lab.world import AUDIENCE
from pointsman.model.attribute import AbsentDeny, Attribute, Claim, Type
from pointsman.model.formula import And, AtLeast, Atom
from pointsman.model.policy import Policy
from pointsman.model.profile import Limits, Rate

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


def _with_limits(policy: Policy, name: str, limits: Limits) -> Policy:
    return replace(policy, profiles=tuple(replace(p, limits=limits) if p.name == name else p for p in policy.profiles))


def _changes(policy: Policy) -> dict[str, Policy]:
    first, *others = policy.rules
    assert policy.identity is not None
    level = Attribute("user.level", Type.INT, Claim("level"), AbsentDeny())
    asking = replace(first, name="level", when=And((first.when, Atom("user.level", AtLeast(3)))))
    return {
        "a rule": replace(policy, rules=(replace(first, name="renamed"), *others)),
        "the identity": replace(policy, identity=replace(policy.identity, skew=60, audiences=("new", AUDIENCE))),
        "a claim asked": replace(policy, attributes=(*policy.attributes, level), rules=(asking, *policy.rules)),
        "another limit": _with_limits(policy, "unused", Limits(profile=Rate(7, 7), per_destination=Rate(1, 1))),
        "nothing": policy,
    }


def test_only_its_own_limit_refills_a_bucket(lab: Lab, proxy: Proxy) -> None:
    listeners = proxy.files(proxy.policy).listeners
    for what, changed in _changes(proxy.policy).items():
        assert _statuses(lab, 8, "dora").count(429) >= 2
        files = proxy.files(changed)
        proxy.publish(files)
        assert _statuses(lab, 6, "dora").count(429) >= 3, what
        assert files.listeners == listeners
    proxy.publish(proxy.files(_with_limits(proxy.policy, "limited", Limits(per_user=Rate(1, 4)))))
    assert _statuses(lab, 4, "dora") == [200] * 4
    assert 429 in _statuses(lab, 4, "dora")
    proxy.publish(proxy.files(proxy.policy))


def test_a_profile_comes_to_have_limits_and_loses_them(lab: Lab, proxy: Proxy) -> None:
    own = proxy.place.folder / "ecds/limits-safe.json"
    gold = (("x-tenant", "gold"),)

    def refused() -> int:
        with connected(lab, ADDRESS, 80) as client:
            return [client.ask("/", host=HOST, headers=gold).status for _ in range(5)].count(429)

    for limits, expected in ((Limits(profile=Rate(1, 1)), True), (Limits(), False), (Limits(profile=Rate(1, 2)), True)):
        proxy.publish(proxy.files(_with_limits(proxy.policy, "safe", limits)))
        assert (refused() > 0, own.exists()) == (expected, expected)
    proxy.publish(proxy.files(proxy.policy))
    assert not own.exists()


def test_the_profile_limit_counts_all_users_together(lab: Lab, proxy: Proxy) -> None:
    statuses = [status for number in range(12) for status in _statuses(lab, 4, f"user{number}")]
    assert 429 in statuses
