"""Which gateway is asked for a holder's tunnel."""

from pointsman.model.gateway import Gateway
from pointsman.model.profile import Level, Profile, Selector
from pointsman.model.tunnel import Kind
from pointsman.tunnels.offer import choose
from pointsman.tunnels.select import Chosen

VAULT = Profile("vault", Level.STRONG)


def gateway(name: str, level: Level = Level.STRONG) -> Gateway:
    return Gateway(name, "192.0.2.21", 7443, Kind.WIREGUARD, level, (), "", "", "")


AB = (gateway("a"), gateway("b"))


def chosen(*ready: str, avoid: str = "", profile: Profile = VAULT, **shut: str) -> str:
    choice = choose(profile, "ada", AB, ready, shut, avoid)
    return choice.tunnel if isinstance(choice, Chosen) else ""


def test_the_same_holder_comes_to_the_same_gateway() -> None:
    assert {chosen() for _ in range(3)} == {chosen()} <= {"a", "b"}


def test_a_gateway_with_a_tunnel_that_waits_comes_first_also_where_it_is_silent() -> None:
    assert [chosen(name) for name in ("a", "b")] == ["a", "b"]
    assert chosen("a", a="no answer") == "a"


def test_a_gateway_that_is_not_asked_now_is_left_out() -> None:
    assert (chosen(a="no answer"), chosen(b="it is full"), chosen(a="no answer", b="it is full")) == ("b", "a", "")


def test_the_gateway_of_a_dead_tunnel_is_asked_where_no_other_will_do() -> None:
    assert chosen("a", avoid="a") == "b"
    assert chosen(avoid="a", b="it is full") == "a"
    assert chosen(avoid="a", profile=Profile("vault", Level.STRONG, Selector(names=("a",)))) == "a"


def test_a_gateway_that_is_less_than_is_asked_for_is_rejected_with_the_reason() -> None:
    choice = choose(VAULT, "ada", [gateway("a", Level.ENCRYPTED)], (), {})

    assert [(one.tunnel, str(one.objections[0])) for one in choice.rejected] == [
        ("a", "gives `encrypted`, needed is `strong`")
    ]
