"""Which tunnel a profile gets, and for every other tunnel all the reasons why not."""

import hashlib
import heapq
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import overload

from pointsman.model.profile import Choose, OnFailure, Profile
from pointsman.model.tunnel import Kind, Lease, State, Tunnel

# So many tunnels are ready to take over
AHEAD = 3
# So many share the connections of one profile
SHARING = 8


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


class Rejections(Sequence[Rejected]):
    """What was rejected, worked out when somebody asks: choosing among thousands must not wait for reasons."""

    def __init__(self, found: Callable[[], Iterable[Rejected]]) -> None:
        self._found = found
        self._known: tuple[Rejected, ...] | None = None

    def __len__(self) -> int:
        return len(self._all())

    @overload
    def __getitem__(self, place: int) -> Rejected: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Rejected]: ...
    def __getitem__(self, place: int | slice) -> Rejected | Sequence[Rejected]:
        return self._all()[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._all() == tuple(other)

    def __hash__(self) -> int:
        return hash(self._all())

    def __repr__(self) -> str:
        return repr(self._all())

    def _all(self) -> tuple[Rejected, ...]:
        if self._known is None:
            self._known = tuple(self._found())
        return self._known


@dataclass(frozen=True, slots=True)
class Chosen:
    """The tunnel to use, and in order the few that take over from it. They are in `rejected` for coming second.

    Where several share the profile's connections, `shares` are these with their weights, `tunnel` among them. `free`
    are all that raise no objection.
    """

    tunnel: str
    rejected: Sequence[Rejected]
    then: tuple[str, ...] = ()
    shares: tuple[tuple[str, int], ...] = ()
    free: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass(frozen=True, slots=True)
class NoTunnel:
    """No tunnel will do: the request does not leave."""

    rejected: Sequence[Rejected]


Selection = Chosen | NoTunnel


def select(
    profile: Profile,
    tunnels: Iterable[Tunnel],
    leases: Iterable[Lease],
    flow: str,
    stays: str = "",
    latency: Mapping[str, float] | None = None,
    rests: Collection[str] = (),
) -> Selection:
    """Choose the tunnel that comes first by what the profile says and raises no objection.

    By itself that is the nearest to what it asks for: a tunnel much stronger than needed comes after one that is just
    strong enough. Equals are settled by a hash of flow and tunnel, so that the same question always gets the same
    answer, and one tunnel coming or going moves no flow of another. The tunnel that `stays` comes first as long as it
    carries. `latency` is in seconds, by tunnel. A profile with `onFailure: block` stays with its first choice while
    that is down; with `next` it takes the next tunnel that is up, and a degraded one where none is. One that is
    `weighted` or `spread` and neither dedicated nor blocks shares its connections among those that are up; tunnels in
    `rests`, which have just come back, only where there is no other.
    """
    held, offered = tuple(leases), tuple(tunnels)
    rank = _ranked(profile, flow, latency or {})
    fitting = _fitting(profile, offered, held)
    pinned = min(fitting, key=rank).name if fitting and profile.on_failure is OnFailure.BLOCK else ""
    free = [tunnel for tunnel in fitting if tunnel.state.carries and pinned in ("", tunnel.name)]
    up = [tunnel for tunnel in free if tunnel.state is State.UP]
    order = heapq.nsmallest(AHEAD + 1, up, key=rank)
    if len(order) <= AHEAD:
        order += heapq.nsmallest(AHEAD + 1 - len(order), (t for t in free if t.state is State.DEGRADED), key=rank)
    names = [tunnel.name for tunnel in order]
    able = frozenset(tunnel.name for tunnel in free)
    sharing = heapq.nsmallest(SHARING, [t for t in up if t.name not in rests] or up, key=rank) if profile.shared else []
    first = [tunnel.name for tunnel in sharing]
    names = list(dict.fromkeys((*([stays] if stays in (first or able) else ()), *first, *names)))
    shares = _shares(profile, sharing) if len(sharing) > 1 else ()
    best, *then = names or [""]

    def rejected() -> Iterator[Rejected]:
        for tunnel in sorted(offered, key=lambda tunnel: tunnel.name):
            found = unfit(tunnel, profile, held)
            against = (*found, *_state(tunnel), *(() if found else _pinned(pinned, tunnel)))
            if tunnel.name != best and tunnel.name not in dict(shares):
                yield Rejected(tunnel.name, against or (Objection("second", f"`{best}` comes first"),))

    if not best:
        return NoTunnel(Rejections(rejected))
    return Chosen(best, Rejections(rejected), tuple(then[:AHEAD]), shares, able)


def _shares(profile: Profile, sharing: Iterable[Tunnel]) -> tuple[tuple[str, int], ...]:
    """Return the tunnels that share a profile's connections with their weights, in order of name."""
    even = profile.choose is Choose.SPREAD
    return tuple(sorted((one.name, 1 if even else one.weight) for one in sharing))


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
    holders = [lease.profile for lease in leases if lease.tunnel == tunnel.name]
    own = [lease.tunnel for lease in leases if lease.profile == profile.name]
    found = [Objection("leased", f"is held by `{holder}`") for holder in holders if holder != profile.name]
    if profile.dedicated and own and tunnel.name not in own:
        found.append(Objection("holds", f"the profile holds `{own[0]}`"))
    return tuple(found)


def _state(tunnel: Tunnel) -> tuple[Objection, ...]:
    if tunnel.state.carries:
        return ()
    return (Objection("state", f"is {tunnel.state}" + (f": {tunnel.why}" if tunnel.why else "")),)


def _pinned(first: str, tunnel: Tunnel) -> tuple[Objection, ...]:
    if first in ("", tunnel.name):
        return ()
    return (Objection("pinned", f"`{first}` comes first, and `onFailure` is `block`"),)


def _fitting(profile: Profile, tunnels: Iterable[Tunnel], leases: Iterable[Lease]) -> list[Tunnel]:
    """Return the tunnels against which `unfit` would say nothing, without asking it for its reasons."""
    labels, names, level = profile.selector.labels, frozenset(profile.selector.names), profile.encryption
    found = [tunnel for tunnel in tunnels if tunnel.level >= level]
    for label in labels:
        found = [tunnel for tunnel in found if label in tunnel.labels]
    if names:
        found = [tunnel for tunnel in found if tunnel.name in names]
    taken = {lease.tunnel for lease in leases if lease.profile != profile.name}
    if taken:
        found = [tunnel for tunnel in found if tunnel.name not in taken]
    if profile.dedicated:
        own = {lease.tunnel for lease in leases if lease.profile == profile.name}
        found = [t for t in found if t.kind is not Kind.DIRECT and (not own or t.name in own)]
    return found


def _ranked(profile: Profile, flow: str, latency: Mapping[str, float]) -> Callable[[Tunnel], tuple[float | str, ...]]:
    """Return what tunnels are sorted by; at its end always the name, so that there are no two equals."""
    places = {name: place for place, name in enumerate(profile.selector.names)}
    match profile.choose:
        case Choose.NEAREST:
            return lambda t: (t.level, _spread(flow, t.name), t.name)
        case Choose.ORDERED:
            return lambda t: (places.get(t.name, math.inf), t.name)
        case Choose.WEIGHTED:  # rendezvous hashing with weights: Schindelhauer, Schomaker, SPAA 2005
            return lambda t: (-math.log(_spread(flow, t.name)) / t.weight, t.name)
        case Choose.LEAST_LATENCY:
            return lambda t: (latency.get(t.name, math.inf), t.level, _spread(flow, t.name), t.name)
        case Choose.CHEAPEST:
            return lambda t: (t.cost, t.level, _spread(flow, t.name), t.name)
        case Choose.SPREAD:
            return lambda t: (_spread(flow, t.name), t.name)


@lru_cache(maxsize=1 << 16)
def _spread(flow: str, tunnel: str) -> float:
    """Return a number above 0 and up to 1 that hangs on both alone."""
    drawn = hashlib.blake2b(f"{flow}\0{tunnel}".encode(), digest_size=8).digest()
    return (int.from_bytes(drawn) + 1) / (1 << 64)
