"""Which lanes holders need, and whose requests take which."""

from pointsman.model.attribute import BUILTINS
from pointsman.model.policy import Policy
from pointsman.model.profile import Holding, Level, Profile, Selector, Who
from pointsman.model.tunnel import Kind, Lane, Lease, State, Tunnel
from pointsman.node.holdings import Holdings, by_holder, held_lanes, with_workloads

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
    holdings = Holdings((Lease("a", "vault", "ada"),), ("b",), frozenset("ab"))

    assert held_lanes(POLICY, holdings, {"a": tunnel("a"), "b": tunnel("b")}) == (("vault", "a"), ("vault", "b"))


def test_a_tunnel_without_addresses_has_no_lane_yet() -> None:
    holdings = Holdings((Lease("a", "vault", "ada"),), (), frozenset("a"))

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
