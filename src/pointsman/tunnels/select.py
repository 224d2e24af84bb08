"""Which tunnel a profile gets, and for every other tunnel all the reasons why not."""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pointsman.model.profile import Choose, OnFailure, Profile
from pointsman.model.tunnel import Kind, Lease, State, Tunnel


@dataclass(frozen=True, slots=True)
class Objection:
    """One reason against a tunnel. `label` is stable and meant for programs."""

    label: str
    what: str

    def __str__(self) -> str:
        return self.what


@dataclass(frozen=True, slots=True)
class Rejected:
    """A tunnel that was not chosen, and everything that speaks against it."""

    tunnel: str
    objections: tuple[Objection, ...]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The tunnel to use, and in order those that could take over at once. They are in `rejected` for coming second."""

    tunnel: str
    rejected: tuple[Rejected, ...]
    then: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NoTunnel:
    """No tunnel will do: the request does not leave."""

    rejected: tuple[Rejected, ...]


Selection = Chosen | NoTunnel


def select(
    profile: Profile,
    tunnels: Iterable[Tunnel],
    leases: Iterable[Lease],
    flow: str,
    stays: str = "",
    latency: Mapping[str, float] | None = None,
) -> Selection:
    """Choose the tunnel that comes first by what the profile says and raises no objection.

    By itself that is the nearest to what it asks for: a tunnel much stronger than needed comes after one that is just
    strong enough. Equals are settled by a hash of flow and tunnel, so that the same question always gets the same
    answer, and one tunnel coming or going moves no flow of another. The tunnel that `stays` comes first as long as it
    carries. `latency` is in seconds, by tunnel. A profile with `onFailure: block` stays with its first choice while
    that is down; with `next` it takes the next tunnel that is up, and a degraded one where none is.
    """
    held = tuple(leases)
    judged = [(tunnel, unfit(tunnel, profile, held)) for tunnel in tunnels]
    order = sorted(
        (tunnel for tunnel, found in judged if not found),
        key=lambda tunnel: (*_rank(tunnel, profile, flow, latency or {}), tunnel.name),
    )
    first = order[0].name if order else ""
    pinned = profile.on_failure is OnFailure.BLOCK
    against = {
        tunnel.name: (*found, *_state(tunnel), *(_pinned(first, tunnel) if pinned and not found else ()))
        for tunnel, found in judged
    }
    free = [tunnel for tunnel in order if not against[tunnel.name]]
    free.sort(key=lambda tunnel: (tunnel.name != stays, tunnel.state is State.DEGRADED))
    best, *then = [tunnel.name for tunnel in free] or [""]
    rejected = tuple(
        Rejected(name, found or (Objection("second", f"`{best}` comes first"),))
        for name, found in sorted(against.items())
        if name != best
    )
    return Chosen(best, rejected, tuple(then)) if best else NoTunnel(rejected)


def unfit(tunnel: Tunnel, profile: Profile, leases: tuple[Lease, ...]) -> tuple[Objection, ...]:
    """Return what speaks against a tunnel for this profile whatever state it is in."""
    return (*misfit(tunnel, profile), *_leased(tunnel, profile, leases))


def misfit(tunnel: Tunnel, profile: Profile) -> tuple[Objection, ...]:
    """Return where a tunnel is not what the profile asks for, whoever holds it."""
    labels = dict(tunnel.labels)
    found: list[Objection] = []
    if tunnel.level < profile.encryption:
        gives, needs = tunnel.level.name.lower(), profile.encryption.name.lower()
        found.append(Objection("level", f"gives `{gives}`, needed is `{needs}`"))
    for key, value in profile.selector.labels:
        if key not in labels:
            found.append(Objection("label", f"has no label `{key}`, needed is `{value}`"))
        elif labels[key] != value:
            found.append(Objection("label", f"label `{key}` is `{labels[key]}`, needed is `{value}`"))
    if profile.selector.names and tunnel.name not in profile.selector.names:
        found.append(Objection("name", "is not among the tunnels that the profile names"))
    if profile.dedicated and tunnel.kind is Kind.DIRECT:
        found.append(Objection("shared", "`direct` is everybody's and cannot be dedicated"))
    return tuple(found)


def _leased(tunnel: Tunnel, profile: Profile, leases: tuple[Lease, ...]) -> tuple[Objection, ...]:
    holders = [lease.holder for lease in leases if lease.tunnel == tunnel.name]
    own = [lease.tunnel for lease in leases if lease.holder == profile.name]
    found = [Objection("leased", f"is held by `{holder}`") for holder in holders if holder != profile.name]
    if profile.dedicated and own and tunnel.name not in own:
        found.append(Objection("holds", f"the profile holds `{own[0]}`"))
    return tuple(found)


def _state(tunnel: Tunnel) -> tuple[Objection, ...]:
    if tunnel.state.carries:
        return ()
    return (Objection("state", f"is {tunnel.state}" + (f": {tunnel.why}" if tunnel.why else "")),)


def _pinned(first: str, tunnel: Tunnel) -> tuple[Objection, ...]:
    if tunnel.name == first:
        return ()
    return (Objection("pinned", f"`{first}` comes first, and `onFailure` is `block`"),)


def _rank(tunnel: Tunnel, profile: Profile, flow: str, latency: Mapping[str, float]) -> tuple[float, ...]:
    spread = _spread(flow, tunnel.name)
    near = float(tunnel.level - profile.encryption)
    match profile.choose:
        case Choose.NEAREST:
            return near, spread
        case Choose.ORDERED:
            return float(profile.selector.names.index(tunnel.name)), spread
        case Choose.WEIGHTED:  # rendezvous hashing with weights: Schindelhauer, Schomaker, SPAA 2005
            return -math.log(spread) / tunnel.weight, spread
        case Choose.LEAST_LATENCY:
            return latency.get(tunnel.name, math.inf), near, spread
        case Choose.CHEAPEST:
            return float(tunnel.cost), near, spread
        case Choose.SPREAD:
            return (spread,)


def _spread(flow: str, tunnel: str) -> float:
    """Return a number above 0 and up to 1 that hangs on both alone."""
    drawn = hashlib.blake2b(f"{flow}\0{tunnel}".encode(), digest_size=8).digest()
    return (int.from_bytes(drawn) + 1) / (1 << 64)
