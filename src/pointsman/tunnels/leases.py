"""Who holds which dedicated tunnel. A leased tunnel has one holder, a profile, and nobody else may use it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from pointsman.model.profile import OnFailure, Profile
from pointsman.model.tunnel import Lease, State, Tunnel
from pointsman.tunnels.select import Chosen, Selection, misfit, select


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who holds what, and what every profile gets, by its name."""

    leases: tuple[Lease, ...]
    selections: Mapping[str, Selection]


def assign(
    profiles: Iterable[Profile],
    tunnels: Iterable[Tunnel],
    leases: Iterable[Lease],
    stays: Mapping[str, str] | None = None,
    latency: Mapping[str, float] | None = None,
    rests: Mapping[str, Collection[str]] | None = None,
) -> Assignment:
    """Give every profile its tunnel; dedicated profiles choose first, in order of name.

    `stays` are by profile the tunnels that they are on, `rests` those that it is too early to share with again;
    `latency` is in seconds by tunnel. A lease that still fits
    stays, also while its tunnel is down: a short outage must not hand a dedicated tunnel to somebody else. Only a
    holder with `onFailure: next` gives up a tunnel that is down.
    """
    wanted = sorted(profiles, key=lambda profile: (not profile.dedicated, profile.name))
    offered = tuple(tunnels)
    held = list(_kept(wanted, offered, leases))
    selections: dict[str, Selection] = {}
    for profile in wanted:
        on, early = (stays or {}).get(profile.name, ""), (rests or {}).get(profile.name, ())
        selection = select(profile, offered, held, profile.name, on, latency, early)
        selections[profile.name] = selection
        lease = Lease(selection.tunnel, profile.name) if isinstance(selection, Chosen) else None
        if lease and profile.dedicated and lease not in held:
            held.append(lease)
    return Assignment(tuple(sorted(held, key=lambda lease: lease.tunnel)), selections)


def _kept(wanted: Iterable[Profile], offered: Iterable[Tunnel], leases: Iterable[Lease]) -> tuple[Lease, ...]:
    profiles = {profile.name: profile for profile in wanted if profile.dedicated}
    tunnels = {tunnel.name: tunnel for tunnel in offered}
    kept: dict[str, Lease] = {}
    for lease in sorted(leases, key=lambda lease: (lease.profile, lease.tunnel)):
        profile, tunnel = profiles.get(lease.profile), tunnels.get(lease.tunnel)
        if profile is None or tunnel is None or misfit(tunnel, profile):
            continue
        if tunnel.state in (State.PLANNED, State.FAILED, State.GONE) and profile.on_failure is OnFailure.NEXT:
            continue
        if lease.profile not in kept and all(lease.tunnel != other.tunnel for other in kept.values()):
            kept[lease.profile] = lease
    return tuple(kept.values())
