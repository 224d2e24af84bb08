"""What must hold for every pool, profile and set of leases."""

from hypothesis import given
from hypothesis import strategies as st

from pointsman.model.profile import Labels, Level, OnFailure, Profile, Selector
from pointsman.model.tunnel import Kind, Lease, State, Tunnel
from pointsman.tunnels.leases import assign
from pointsman.tunnels.select import Chosen, select

NAMES = st.sampled_from(["a", "b", "c", "d"])
PROFILES = st.sampled_from(["p", "q", "r"])
LABELS: st.SearchStrategy[Labels] = st.lists(
    st.tuples(st.sampled_from(["region", "tier"]), st.sampled_from(["x", "y"])),
    max_size=2,
    unique_by=lambda pair: pair[0],
).map(tuple)
TUNNELS = st.lists(
    st.builds(
        Tunnel,
        name=NAMES,
        kind=st.sampled_from(Kind),
        level=st.sampled_from(Level),
        labels=LABELS,
        state=st.sampled_from(State),
        device=st.just("pm0"),
        sources=st.just(()),
        endpoints=st.just(()),
        table=st.just(7100),
        mtu=st.just(1400),
    ),
    unique_by=lambda tunnel: tunnel.name,
    max_size=4,
)
ONE = st.builds(
    Profile,
    name=PROFILES,
    encryption=st.sampled_from(Level),
    selector=st.builds(Selector, LABELS, st.lists(NAMES, max_size=2).map(tuple)),
    dedicated=st.booleans(),
    on_failure=st.sampled_from(OnFailure),
)
SEVERAL = st.lists(ONE, unique_by=lambda profile: profile.name, max_size=3)
LEASES = st.lists(st.builds(Lease, NAMES, PROFILES), unique_by=lambda lease: lease.tunnel, max_size=4)


@given(ONE, TUNNELS, LEASES, st.text(max_size=3))
def test_what_is_chosen_raises_no_objection_and_everything_else_does(
    profile: Profile, tunnels: list[Tunnel], leases: list[Lease], flow: str
) -> None:
    selection = select(profile, tunnels, leases, flow)
    chosen = [tunnel for tunnel in tunnels if isinstance(selection, Chosen) and tunnel.name == selection.tunnel]

    for tunnel in chosen:
        assert tunnel.state.carries
        assert tunnel.level >= profile.encryption
        assert set(profile.selector.labels) <= set(tunnel.labels)
        assert not profile.selector.names or tunnel.name in profile.selector.names
        assert [lease for lease in leases if lease.tunnel == tunnel.name and lease.profile != profile.name] == []
        assert not (profile.dedicated and tunnel.kind is Kind.DIRECT)
    assert isinstance(selection, Chosen) == bool(chosen)
    assert sorted(rejected.tunnel for rejected in selection.rejected) == sorted(
        tunnel.name for tunnel in tunnels if tunnel not in chosen
    )
    assert all(rejected.objections for rejected in selection.rejected)


@given(ONE, TUNNELS, LEASES, st.randoms(use_true_random=False))
def test_the_order_of_the_pool_changes_nothing(
    profile: Profile, tunnels: list[Tunnel], leases: list[Lease], dice
) -> None:  # type: ignore[no-untyped-def]
    mixed = list(tunnels)
    dice.shuffle(mixed)

    assert select(profile, mixed, leases, "f") == select(profile, tunnels, leases, "f")


@given(SEVERAL, TUNNELS, LEASES)
def test_nobody_shares_a_dedicated_tunnel_and_asking_again_changes_nothing(
    profiles: list[Profile], tunnels: list[Tunnel], leases: list[Lease]
) -> None:
    first = assign(profiles, tunnels, leases)
    users: dict[str, list[str]] = {}
    for name, selection in first.selections.items():
        if isinstance(selection, Chosen):
            users.setdefault(selection.tunnel, []).append(name)

    for profile in profiles:
        selection = first.selections[profile.name]
        if profile.dedicated and isinstance(selection, Chosen):
            assert users[selection.tunnel] == [profile.name]
            assert Lease(selection.tunnel, profile.name) in first.leases
    assert len({lease.tunnel for lease in first.leases}) == len(first.leases)
    assert len({lease.profile for lease in first.leases}) == len(first.leases)
    again = assign(profiles, tunnels, first.leases)
    assert again.leases == first.leases
    assert {name: getattr(found, "tunnel", None) for name, found in again.selections.items()} == {
        name: getattr(found, "tunnel", None) for name, found in first.selections.items()
    }
