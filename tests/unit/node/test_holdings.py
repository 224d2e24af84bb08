"""Which lanes holders need, and whose requests take which."""

from dataclasses import replace

import pytest

from pointsman.model.attribute import BUILTINS, AbsentDeny, Attribute, Claim, Header, Type
from pointsman.model.gateway import Holder, Made
from pointsman.model.policy import Identity, Policy
from pointsman.model.profile import Holding, Level, Profile, Selector, Who
from pointsman.model.tunnel import Kind, Lane, Lease, State, Tunnel
from pointsman.node.holdings import Holdings, by_holder, held_lanes, source_of, unfit, with_workloads

PROFILES = (
    Profile("vault", Level.STRONG, holding=Holding(Who.USER)),
    Profile("each", Level.STRONG, Selector((("to", "us"),)), holding=Holding(Who.WORKLOAD)),
    Profile("plain", Level.NONE),
)
POLICY = Policy("p", "1", BUILTINS, (), PROFILES, (), None)


def tunnel(name: str, state: State = State.UP, sources: tuple[str, ...] = ("10.0.0.2",)) -> Tunnel:
    return Tunnel(name, Kind.WIREGUARD, Level.STRONG, (), state, f"pm{name}", sources, (), 7100, 1420)


def lane(profile: str, name: str) -> Lane:
    return Lane(profile, name, 0x200000, f"pm{name}", ("10.0.0.2",))


def test_holders_have_lanes_and_spare_tunnels_have_them_beforehand() -> None:
    holdings = Holdings((Lease("a", "vault", "ada"),), ("b",), {"a": "gw", "b": "gw"})

    assert held_lanes(POLICY, holdings, {"a": tunnel("a"), "b": tunnel("b")}) == (("vault", "a"), ("vault", "b"))


def test_a_tunnel_without_addresses_has_no_lane_yet() -> None:
    holdings = Holdings((Lease("a", "vault", "ada"),), (), {"a": "gw"})

    assert held_lanes(POLICY, holdings, {"a": tunnel("a", sources=())}) == ()


def test_a_lease_of_a_profile_without_holders_has_no_lane() -> None:
    assert held_lanes(POLICY, Holdings((Lease("a", "plain", "x"),)), {"a": tunnel("a")}) == ()


def test_only_who_has_a_tunnel_that_carries_is_sent_there() -> None:
    holdings = Holdings((Lease("a", "vault", "ada"), Lease("b", "vault", "bob")))
    lanes = {("vault", name): lane("vault", name) for name in "ab"}
    tunnels = {"a": tunnel("a"), "b": tunnel("b", State.FAILED)}

    assert by_holder(holdings, lanes, tunnels) == {"vault": {"ada": lanes["vault", "a"]}}


def test_workloads_have_entries_of_their_own_as_long_as_there_is_room() -> None:
    few = {"each": {"1001": lane("each", "a"), "7": lane("each", "b")}, "vault": {"5": lane("vault", "a")}}
    many = {"each": {str(uid): lane("each", "a") for uid in range(1000, 1200)}}

    assert with_workloads((7,), POLICY, few) == (7, 1001)
    assert len(with_workloads((7,), POLICY, many)) == 98


def held(source: str = "claim sub by nobody", level: Level = Level.STRONG, profile: str = "vault") -> Made:
    return Made("gw-1", "gw", Kind.WIREGUARD, level, (("to", "us"),), Holder(profile, "1000", source), 1.0, 1.0)


def with_vault(**changes: object) -> Policy:
    return replace(POLICY, profiles=(replace(PROFILES[0], **changes), *PROFILES[1:]))  # type: ignore[arg-type]


def test_a_tunnel_that_is_less_than_its_profile_asks_for_now_has_no_lane() -> None:
    holdings = Holdings((Lease("a", "vault", "ada"),), ("b",), {"a": "gw", "b": "gw"})
    tunnels = {name: tunnel(name) for name in "ab"}

    assert held_lanes(with_vault(encryption=Level.QUANTUM), holdings, tunnels) == ()
    assert held_lanes(with_vault(selector=Selector((("region", "eu"),))), holdings, tunnels) == ()


def test_a_profile_with_holders_names_gateways() -> None:
    holdings = Holdings((Lease("a", "vault", "ada"),), ("b", "c"), {"a": "gw", "b": "gw", "c": "other"})
    policy = with_vault(selector=Selector(names=("gw",)))

    assert held_lanes(policy, holdings, {name: tunnel(name) for name in "abc"}) == (("vault", "a"), ("vault", "b"))


@pytest.mark.parametrize(
    ("one", "changes", "why"),
    [
        (held(), {}, ""),
        (held(), {"selector": Selector((("to", "us"),), ("gw", "other"))}, ""),
        (held(), {"encryption": Level.QUANTUM}, "gives `strong`, needed is `quantum`"),
        (held(level=Level.NONE), {}, "gives `none`, needed is `strong`"),
        (held(), {"selector": Selector((("to", "eu"),))}, "label `to` is `us`, needed is `eu`"),
        (held(), {"selector": Selector(names=("other",))}, "is not among the tunnels that the profile names"),
        (held(), {"holding": Holding(Who.WORKLOAD)}, "holders are told apart by something else now"),
        (held(source=""), {}, "holders are told apart by something else now"),
        (held(), {"holding": None}, "its profile has no holders any more"),
        (held(profile="gone"), {}, "its profile has no holders any more"),
    ],
)
def test_no_request_goes_by_a_tunnel_that_is_not_what_the_policy_asks_for_now(
    one: Made, changes: dict[str, object], why: str
) -> None:
    assert unfit(one, with_vault(**changes)) == why


def test_the_same_key_from_elsewhere_is_another_holder() -> None:
    def team(source: Claim | Header) -> Policy:
        return replace(POLICY, attributes=(Attribute("user.team", Type.STRING, source, AbsentDeny()),))

    proven = replace(POLICY, identity=Identity("authorization", "Bearer ", "https://id.example", (), "{}", False))
    by_team = Holding(Who.ATTRIBUTE, "user.team")

    assert [
        source_of(Holding(Who.USER), POLICY),
        source_of(Holding(Who.USER), proven),
        source_of(Holding(Who.WORKLOAD), POLICY),
        source_of(Holding(Who.RULE), POLICY),
        source_of(by_team, team(Claim("team"))),
        source_of(by_team, team(Header("x-team"))),
    ] == [
        "claim sub by nobody",
        "claim sub by https://id.example",
        "process.uid",
        "rule",
        "claim team by nobody",
        "header x-team",
    ]
