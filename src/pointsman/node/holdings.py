"""Tunnels of single holders as the plan sees them: which lanes they need, and whose requests take which. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from pointsman.dataplane.entries import CLASSES
from pointsman.model.attribute import Claim, Header
from pointsman.model.gateway import Made
from pointsman.model.policy import Policy
from pointsman.model.profile import Holding, Profile, Who
from pointsman.model.tunnel import Lane, Lease, Tunnel
from pointsman.policy.holding import holder_attribute
from pointsman.tunnels.offer import made_as
from pointsman.tunnels.select import misfit

Lanes = Mapping[tuple[str, str], Lane]


@dataclass(frozen=True, slots=True)
class Holdings:
    """Who holds which tunnel, which wait for a holder, and where all were made, those that leave among them."""

    leases: tuple[Lease, ...] = ()
    spares: tuple[str, ...] = ()
    gateways: Mapping[str, str] = field(default_factory=dict)


NOBODY = Holdings()


def held_lanes(policy: Policy, holdings: Holdings, tunnels: Mapping[str, Tunnel]) -> tuple[tuple[str, str], ...]:
    """Return profile and tunnel of every lane that holders need, now or as soon as they are given a spare one."""
    profiles = {profile.name: profile for profile in policy.profiles if profile.holding is not None}
    leased = [(lease.profile, lease.tunnel) for lease in holdings.leases if lease.profile in profiles]
    ready = [(name, spare) for spare in holdings.spares for name in profiles]
    # a profile names gateways here, not tunnels
    offered = {name: replace(one, name=holdings.gateways.get(name, name)) for name, one in tunnels.items()}
    return tuple(
        (profile, name)
        for profile, name in dict.fromkeys((*leased, *ready))
        if name in tunnels and tunnels[name].sources and not misfit(offered[name], profiles[profile])
    )


def by_holder(holdings: Holdings, lanes: Lanes, tunnels: Mapping[str, Tunnel]) -> dict[str, dict[str, Lane]]:
    """Return the lane of every holder whose tunnel carries, by profile and key."""
    found: dict[str, dict[str, Lane]] = {}
    for lease in holdings.leases:
        lane = lanes.get((lease.profile, lease.tunnel))
        if lane is not None and tunnels[lease.tunnel].state.carries:
            found.setdefault(lease.profile, {})[lease.key] = lane
    return found


def unfit(one: Made, policy: Policy) -> str:
    """Return why no request of its holder may go by a tunnel any more; nothing where they may."""
    holder = one.holder
    profile = None if holder is None else _profile(policy, holder.profile)
    if holder is None or profile is None or profile.holding is None:
        return "its profile has no holders any more"
    if holder.source != source_of(profile.holding, policy):
        return "holders are told apart by something else now"
    return ", ".join(map(str, misfit(made_as(one), profile)))


def source_of(holding: Holding, policy: Policy) -> str:
    """Return what the keys of holders are read from: the same key from elsewhere is another holder."""
    attribute = holder_attribute(holding, policy.attributes)
    if attribute is None:
        return "rule"
    match attribute.source:
        case Claim(name):
            return f"claim {name} by {policy.identity.issuer if policy.identity is not None else 'nobody'}"
        case Header(name):
            return f"header {name}"
        case _:
            return attribute.name


def with_workloads(uids: Iterable[int], policy: Policy, holders: Mapping[str, Mapping[str, Lane]]) -> tuple[int, ...]:
    """Return the users that need entries of their own: those of rules, and as many holders as there is room for."""
    named = tuple(sorted(uids))
    by_workload = {p.name for p in policy.profiles if p.holding is not None and p.holding.who is Who.WORKLOAD}
    own = sorted({int(key) for profile in by_workload for key in holders.get(profile, {})} - set(named))
    return (*named, *own[: max(0, CLASSES - 2 - len(named))])


def _profile(policy: Policy, name: str) -> Profile | None:
    return next((profile for profile in policy.profiles if profile.name == name), None)
