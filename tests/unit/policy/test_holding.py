"""Who holds a tunnel of its own, and which policies cannot tell."""

import pytest

from pointsman.model.context import Absent
from pointsman.model.policy import Policy
from pointsman.model.problem import Invalid
from pointsman.model.profile import Holding, Who
from pointsman.policy.holding import holder_of
from pointsman.policy.load import load_policy

HEAD = """\
apiVersion: pointsman/v1
kind: Policy
metadata: {name: test}
attributes:
  user.team: {type: string, claim: team, absent: deny, values: [red, blue]}
  user.groups: {type: strings, claim: groups, absent: []}
  node.site: {type: string, node: site, absent: unknown}
"""
IDENTITY = "identity: {jwt: {issuer: https://id.example, audiences: [pointsman], keys: keys.json}}\n"
KEYS = b'{"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]}'


def policy(profile: str, head: str = HEAD + IDENTITY) -> Policy:
    return load_policy(f"{head}profiles: [{{name: own, encryption: none, {profile}}}]\n".encode(), "p", lambda _: KEYS)


def problems(profile: str, head: str = HEAD + IDENTITY) -> list[str]:
    with pytest.raises(Invalid) as caught:
        policy(profile, head)
    return [problem.what for problem in caught.value.problems]


def test_a_profile_says_who_holds_its_tunnels_and_for_how_long() -> None:
    holdings = [
        policy(text).profile("own").holding
        for text in (
            "dedicated: per-user",
            "dedicated: per-workload, provision: {wait: 5s, idle: 1h, rotate: never}",
            "dedicated: per-rule",
            "dedicated: {per-request-attribute: user.team}, provision: {rotate: 30m}",
            "dedicated: true",
        )
    ]

    assert holdings == [
        Holding(Who.USER, "", 3, 600, 86_400),
        Holding(Who.WORKLOAD, "", 5, 3600, 0),
        Holding(Who.RULE),
        Holding(Who.ATTRIBUTE, "user.team", 3, 600, 1800),
        None,
    ]


@pytest.mark.parametrize(
    ("profile", "found"),
    [
        ("dedicated: {per-request-attribute: user.taem}", "there is no attribute `user.taem`"),
        ("dedicated: {per-request-attribute: user.groups}", "`user.groups` cannot tell the holders of `own` apart"),
        ("dedicated: {per-request-attribute: node.site}", "`node.site` cannot tell the holders of `own` apart"),
        ("dedicated: per-rule, provision: {wait: 31s}", "`31s` is longer than 30s"),
    ],
)
def test_holders_that_cannot_be_told_apart_are_a_problem(profile: str, found: str) -> None:
    assert problems(profile) == [found]


def test_tunnels_per_user_need_users_that_are_proven() -> None:
    bare = "apiVersion: pointsman/v1\nkind: Policy\nmetadata: {name: test}\n"

    assert problems("dedicated: per-user", bare) == [
        "`own` holds tunnels per user, and `identity:` does not say how users are proven"
    ]


def test_the_holder_is_read_from_token_request_or_rule() -> None:
    here = policy("dedicated: per-rule")
    facts = {"process.uid": 1001, "user.team": "red"}
    claims = {"sub": "ada"}

    def held(who: Who, attribute: str = "") -> str | Absent:
        return holder_of(Holding(who, attribute), "some-rule", here, facts, claims)

    assert held(Who.USER) == "ada"
    assert held(Who.WORKLOAD) == "1001"
    assert held(Who.RULE) == "some-rule"
    assert held(Who.ATTRIBUTE, "user.team") == "red"


def test_what_a_request_does_not_have_makes_no_holder() -> None:
    here = policy("dedicated: per-rule")

    assert holder_of(Holding(Who.USER), "r", here, {}, {}) == Absent("no user is proven")
    assert holder_of(Holding(Who.USER), "r", here, {}, {"sub": ["ada"]}) == Absent("no user is proven")
    assert holder_of(Holding(Who.ATTRIBUTE, "user.team"), "r", here, {"user.team": "green"}, {}) == Absent(
        "`green` is not a declared value"
    )
