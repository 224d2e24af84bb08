from dataclasses import replace

import pytest

from pointsman.model.profile import Choose, Level, OnFailure, Profile, Selector
from pointsman.model.tunnel import Kind, Lease, State, Tunnel
from pointsman.tunnels.leases import assign
from pointsman.tunnels.select import Chosen, NoTunnel, Objection, Rejected, Selection, select
from tests.unit.tunnels.samples import tunnel

STRONG = Profile("p", Level.STRONG)
EU = (("region", "eu"),)


def reasons(selection: Selection) -> dict[str, list[str]]:
    return {rejected.tunnel: [str(objection) for objection in rejected.objections] for rejected in selection.rejected}


def test_every_tunnel_that_is_not_chosen_says_all_that_speaks_against_it() -> None:
    tunnels = [
        tunnel("good", labels=EU),
        tunnel("weak", level=Level.ENCRYPTED, labels=(("region", "us"),), state=State.FAILED, why="no answer"),
        tunnel("bare"),
    ]
    selection = select(Profile("p", Level.STRONG, Selector(EU, ("good", "bare"))), tunnels, (), "f")

    assert isinstance(selection, Chosen)
    assert selection.tunnel == "good"
    assert reasons(selection) == {
        "bare": ["has no label `region`, needed is `eu`"],
        "weak": [
            "gives `encrypted`, needed is `strong`",
            "label `region` is `us`, needed is `eu`",
            "is not among the tunnels that the profile names",
            "is failed: no answer",
        ],
    }


def test_without_tunnels_there_is_none() -> None:
    assert select(STRONG, (), (), "f") == NoTunnel(())


def test_the_tunnel_that_is_just_strong_enough_comes_first() -> None:
    tunnels = [tunnel("q", level=Level.QUANTUM), tunnel("s"), tunnel("d", level=Level.NONE, kind=Kind.DIRECT)]

    for level, name in ((Level.NONE, "d"), (Level.ENCRYPTED, "s"), (Level.STRONG, "s"), (Level.QUANTUM, "q")):
        selection = select(Profile("p", level), tunnels, (), "f")
        assert isinstance(selection, Chosen)
        assert selection.tunnel == name


def test_on_failure_block_waits_for_the_first_choice_and_next_does_not() -> None:
    pair = [tunnel("a"), tunnel("b")]
    both = select(STRONG, pair, (), "f")
    assert isinstance(both, Chosen)
    first = both.tunnel
    second = "b" if first == "a" else "a"
    broken = [tunnel(first, state=State.FAILED), tunnel(second)]

    assert reasons(select(STRONG, broken, (), "f")) == {
        first: ["is failed"],
        second: [f"`{first}` comes first, and `onFailure` is `block`"],
    }
    moved = select(Profile("p", Level.STRONG, on_failure=OnFailure.NEXT), broken, (), "f")
    assert isinstance(moved, Chosen)
    assert moved.tunnel == second


def test_flows_spread_over_equal_tunnels_and_stay_where_they_are() -> None:
    names = [f"t{number}" for number in range(4)]

    def chosen(names: list[str]) -> list[str]:
        asked = (select(STRONG, [tunnel(name) for name in names], (), f"flow{number}") for number in range(400))
        return [selection.tunnel for selection in asked if isinstance(selection, Chosen)]

    before, after = chosen(names), chosen(names[1:])
    assert all(60 < before.count(name) < 140 for name in names)
    assert [new for old, new in zip(before, after, strict=True) if old != "t0" and old != new] == []


@pytest.mark.parametrize("state", [State.PLANNED, State.PROVISIONING, State.FAILED])
def test_a_tunnel_that_is_not_up_is_never_chosen(state: State) -> None:
    assert isinstance(select(STRONG, [tunnel("a", state=state)], (), "f"), NoTunnel)


def test_direct_cannot_be_dedicated() -> None:
    direct = tunnel("d", kind=Kind.DIRECT, level=Level.NONE)

    assert reasons(select(Profile("p", Level.NONE, dedicated=True), [direct], (), "f")) == {
        "d": ["`direct` is everybody's and cannot be dedicated"]
    }


def test_a_dedicated_tunnel_has_one_holder_and_nobody_else_gets_it() -> None:
    alone, shared = Profile("alone", Level.STRONG, dedicated=True), Profile("all", Level.STRONG)
    one = assign([shared, alone], [tunnel("a")], ())

    assert one.leases == (Lease("a", "alone"),)
    assert one.selections["alone"] == Chosen("a", ())
    assert reasons(one.selections["all"]) == {"a": ["is held by `alone`"]}


def test_a_lease_survives_an_outage_unless_its_holder_takes_the_next() -> None:
    tunnels = [tunnel("a", state=State.FAILED), tunnel("b")]
    held = (Lease("a", "alone"),)
    waiting = assign([Profile("alone", Level.STRONG, dedicated=True)], tunnels, held)
    moving = assign([Profile("alone", Level.STRONG, dedicated=True, on_failure=OnFailure.NEXT)], tunnels, held)

    assert waiting.leases == held
    assert waiting.selections["alone"] == NoTunnel(waiting.selections["alone"].rejected)
    assert reasons(waiting.selections["alone"]) == {"a": ["is failed"], "b": ["the profile holds `a`"]}
    assert moving.leases == (Lease("b", "alone"),)


def test_a_lease_ends_with_its_profile_its_tunnel_or_what_made_it_fit() -> None:
    alone = Profile("alone", Level.STRONG, dedicated=True)
    held = (Lease("a", "alone"),)

    assert assign([], [tunnel("a")], held).leases == ()
    assert assign([Profile("alone", Level.STRONG)], [tunnel("a")], held).leases == ()
    assert assign([alone], [tunnel("b")], held).leases == (Lease("b", "alone"),)
    assert assign([alone], [tunnel("a", level=Level.ENCRYPTED)], held).leases == ()


def test_what_came_second_says_so() -> None:
    selection = select(STRONG, [tunnel("a"), tunnel("b", level=Level.QUANTUM)], (), "f")
    following = select(
        Profile("p", Level.STRONG, on_failure=OnFailure.NEXT), [tunnel("a"), tunnel("b", level=Level.QUANTUM)], (), "f"
    )

    assert [rejected.tunnel for rejected in selection.rejected] == ["b"]
    assert isinstance(following.rejected[0], Rejected)
    assert reasons(following) == {"b": ["`a` comes first"]}


def test_a_degraded_tunnel_comes_after_those_that_are_up_and_before_none() -> None:
    profile = Profile("p", Level.STRONG, on_failure=OnFailure.NEXT)
    near, far = tunnel("near", state=State.DEGRADED), tunnel("far", level=Level.QUANTUM)

    assert select(profile, [near, far], (), "f") == Chosen(
        "far", (Rejected("near", (Objection("second", "`far` comes first"),)),), ("near",)
    )
    assert select(profile, [near, tunnel("far", state=State.FAILED)], (), "f").rejected[0].tunnel == "far"
    assert reasons(select(STRONG, [near, far], (), "f")) == {"far": ["`near` comes first, and `onFailure` is `block`"]}


@pytest.mark.parametrize(
    ("choose", "first"),
    [
        (Choose.NEAREST, "near"),
        (Choose.ORDERED, "listed"),
        (Choose.CHEAPEST, "cheap"),
        (Choose.LEAST_LATENCY, "fast"),
    ],
)
def test_what_comes_first_is_what_the_profile_says_and_the_next_stand_in_order(choose: Choose, first: str) -> None:
    tunnels = [
        tunnel("near", level=Level.STRONG, cost=9),
        tunnel("cheap", level=Level.QUANTUM, cost=1),
        tunnel("fast", level=Level.QUANTUM, cost=8),
        tunnel("listed", level=Level.QUANTUM, cost=9),
    ]
    names = ("listed", "near", "fast", "cheap")
    profile = Profile("p", Level.STRONG, Selector(names=names), on_failure=OnFailure.NEXT, choose=choose)
    latency = {"near": 0.2, "cheap": 0.3, "fast": 0.1}

    selection = select(profile, tunnels, (), "f", latency=latency)

    assert isinstance(selection, Chosen)
    assert selection.tunnel == first
    assert sorted((selection.tunnel, *selection.then)) == sorted(names)
    if choose is Choose.ORDERED:
        assert selection.then == names[1:]
    if choose is Choose.LEAST_LATENCY:
        assert selection.then == ("near", "cheap", "listed")


def test_weights_share_out_flows_and_a_spread_does_not_look_at_levels() -> None:
    tunnels = [tunnel("heavy", weight=3), tunnel("light", weight=1, level=Level.QUANTUM)]

    def share(choose: Choose) -> int:
        profile = Profile("p", Level.STRONG, choose=choose)
        found = (select(profile, tunnels, (), f"flow{number}") for number in range(400))
        return sum(one == "heavy" for one in (s.tunnel for s in found if isinstance(s, Chosen)))

    assert 260 < share(Choose.WEIGHTED) < 340
    assert 160 < share(Choose.SPREAD) < 240
    assert share(Choose.NEAREST) == 400


def test_the_tunnel_that_a_profile_is_on_comes_first_while_it_carries() -> None:
    profile = Profile("p", Level.STRONG, on_failure=OnFailure.NEXT)
    near, far = tunnel("near"), tunnel("far", level=Level.QUANTUM)

    stays = select(profile, [near, far], (), "f", stays="far")
    lost = select(profile, [near, replace(far, state=State.FAILED)], (), "f", stays="far")
    blocked = select(STRONG, [near, far], (), "f", stays="far")

    assert isinstance(stays, Chosen)
    assert (stays.tunnel, stays.then) == ("far", ("near",))
    assert isinstance(lost, Chosen)
    assert lost.tunnel == "near"
    assert isinstance(blocked, Chosen)
    assert blocked.tunnel == "near"


@pytest.mark.parametrize(
    ("profile", "shares"),
    [
        (Profile("p", Level.STRONG, on_failure=OnFailure.NEXT, choose=Choose.WEIGHTED), (("a", 3), ("b", 1))),
        (Profile("p", Level.STRONG, on_failure=OnFailure.NEXT, choose=Choose.SPREAD), (("a", 1), ("b", 1))),
        (Profile("p", Level.QUANTUM, on_failure=OnFailure.NEXT, choose=Choose.SPREAD), ()),
        (Profile("p", Level.STRONG, on_failure=OnFailure.NEXT), ()),
        (Profile("p", Level.STRONG, choose=Choose.SPREAD), ()),
        (Profile("p", Level.STRONG, on_failure=OnFailure.NEXT, choose=Choose.SPREAD, dedicated=True), ()),
    ],
)
def test_those_that_are_up_share_the_connections_of_a_profile(
    profile: Profile, shares: tuple[tuple[str, int], ...]
) -> None:
    tunnels = [
        tunnel("a", weight=3),
        tunnel("b", level=Level.QUANTUM),
        tunnel("ill", state=State.DEGRADED),
        tunnel("weak", level=Level.NONE),
    ]

    selection = select(profile, tunnels, (), "f", stays="ill")

    assert isinstance(selection, Chosen)
    assert selection.shares == shares
    assert not shares or selection.tunnel in dict(shares)
    assert not {one.tunnel for one in selection.rejected} & {*dict(shares)}


def test_at_most_eight_share() -> None:
    profile = Profile("p", Level.STRONG, on_failure=OnFailure.NEXT, choose=Choose.SPREAD)
    selection = select(profile, [tunnel(f"t{number}") for number in range(20)], (), "f")

    assert isinstance(selection, Chosen)
    assert len(selection.shares) == 8


def test_who_shares_is_on_no_tunnel_that_suffers_or_has_just_come_back_while_another_is_up() -> None:
    profile = Profile("p", Level.STRONG, on_failure=OnFailure.NEXT, choose=Choose.SPREAD)
    ill, back, well = tunnel("ill", state=State.DEGRADED), tunnel("back"), tunnel("well")

    def chosen(*tunnels: Tunnel, stays: str, rests: tuple[str, ...] = ()) -> tuple[str, tuple[tuple[str, int], ...]]:
        found = select(profile, tunnels, (), "f", stays, rests=rests)
        assert isinstance(found, Chosen)
        return found.tunnel, found.shares

    assert chosen(ill, well, stays="ill") == ("well", ())
    assert chosen(ill, back, well, stays="back", rests=("back",)) == ("well", ())
    assert chosen(ill, back, stays="ill", rests=("back",)) == ("back", ())
    assert chosen(ill, stays="ill") == ("ill", ())
    assert chosen(back, well, stays="back") == ("back", (("back", 1), ("well", 1)))
