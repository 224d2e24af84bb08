"""Tunnels of single holders as the plan sees them: which lanes they need, and whose requests take which. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pointsman.dataplane.entries import CLASSES
from pointsman.model.policy import Policy
from pointsman.model.profile import Who
from pointsman.model.tunnel import Lane, Lease, Tunnel
from pointsman.tunnels.select import misfit

Lanes = Mapping[tuple[str, str], Lane]


@dataclass(frozen=True, slots=True)
class Holdings:
    """Who holds which tunnel, which wait for a holder, and all that were made, those that leave among them."""

    leases: tuple[Lease, ...] = ()
    spares: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()


NOBODY = Holdings()


def held_lanes(policy: Policy, holdings: Holdings, tunnels: Mapping[str, Tunnel]) -> tuple[tuple[str, str], ...]:
    """Return profile and tunnel of every lane that holders need, now or as soon as they are given a spare one."""
    profiles = {profile.name: profile for profile in policy.profiles if profile.holding is not None}
    leased = [(lease.holder, lease.tunnel) for lease in holdings.leases if lease.holder in profiles]
    ready = [
        (profile.name, name)
        for name in holdings.spares
        for profile in profiles.values()
        if name in tunnels and not misfit(tunnels[name], profile)
    ]
    return tuple(dict.fromkeys((p, t) for p, t in (*leased, *ready) if t in tunnels and tunnels[t].sources))


def by_holder(holdings: Holdings, lanes: Lanes, tunnels: Mapping[str, Tunnel]) -> dict[str, dict[str, Lane]]:
    """Return the lane of every holder whose tunnel carries, by profile and key."""
    found: dict[str, dict[str, Lane]] = {}
    for lease in holdings.leases:
        lane = lanes.get((lease.holder, lease.tunnel))
        if lane is not None and tunnels[lease.tunnel].state.carries:
            found.setdefault(lease.holder, {})[lease.key] = lane
    return found


def with_workloads(uids: Iterable[int], policy: Policy, holders: Mapping[str, Mapping[str, Lane]]) -> tuple[int, ...]:
    """Return the users that need entries of their own: those of rules, and as many holders as there is room for."""
    named = tuple(sorted(uids))
    by_workload = {p.name for p in policy.profiles if p.holding is not None and p.holding.who is Who.WORKLOAD}
    own = sorted({int(key) for profile in by_workload for key in holders.get(profile, {})} - set(named))
    return (*named, *own[: max(0, CLASSES - 2 - len(named))])
