"""Profiles that no tunnel of a pool can satisfy are named with what each tunnel lacks."""

from pointsman.model.problem import Place
from pointsman.model.profile import Holding, Level, Profile, Selector, Who
from pointsman.model.tunnel import Entry, Kind
from pointsman.policy.check import unsatisfiable

STRONG = Entry("wg-eu", Kind.WIREGUARD, Level.STRONG, (("region", "eu"),))
PLAIN = Entry("lan", Kind.DIRECT, Level.NONE)


def test_a_profile_that_a_tunnel_fits_is_no_problem() -> None:
    profile = Profile("p", Level.ENCRYPTED, Selector((("region", "eu"),)))

    assert unsatisfiable([profile], [STRONG, PLAIN], {}) == ()


def test_every_tunnel_that_does_not_fit_says_why() -> None:
    profile = Profile("p", Level.QUANTUM, Selector((("region", "us"),), ("wg-us",)))

    assert [str(problem) for problem in unsatisfiable([profile], [STRONG, PLAIN], {"p": Place("p.yaml", 3, 4)})] == [
        "p.yaml:3:4: no tunnel of the pool can satisfy profile `p`; "
        "`wg-eu` gives `strong`, not `quantum` and is not among its names and has region=eu, not region=us; "
        "`lan` gives `none`, not `quantum` and is not among its names and has no label `region`, not region=us"
    ]


def test_an_empty_pool_satisfies_nothing() -> None:
    assert [problem.hint for problem in unsatisfiable([Profile("p", Level.NONE)], [], {})] == ["the pool is empty"]


def test_dedicated_profiles_need_a_tunnel_each() -> None:
    first = Profile("a", Level.STRONG, dedicated=True)
    second = Profile("b", Level.ENCRYPTED, dedicated=True)
    other = Entry("ovpn", Kind.OPENVPN, Level.ENCRYPTED)

    assert unsatisfiable([second, first], [STRONG, other], {}) == ()
    assert [problem.what for problem in unsatisfiable([second, first], [STRONG], {})] == [
        "dedicated profile `a` finds each of its tunnels held by another dedicated profile"
    ]


def test_tunnels_of_single_holders_are_made_by_gateways_and_never_taken_from_the_pool() -> None:
    profile = Profile("own", Level.STRONG, holding=Holding(Who.USER))

    assert unsatisfiable([profile], [], {}, [STRONG]) == ()
    assert [(one.what, one.hint) for one in unsatisfiable([profile], [STRONG], {}, [PLAIN])] == [
        ("no gateway can satisfy profile `own`", "`lan` gives `none`, not `strong`")
    ]
    assert [one.hint for one in unsatisfiable([profile], [STRONG], {})] == ["there are no gateways"]
