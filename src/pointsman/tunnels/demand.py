"""Which tunnels of gateways are due to be made, replaced, dropped or forgotten? Time is an argument.

A holder has one tunnel that takes its requests; beside it there may be older ones that only finish what they carry.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pointsman.model.gateway import Gateway, Holder, Made
from pointsman.model.profile import Holding, OnFailure, Profile
from pointsman.model.tunnel import State

# In seconds: what an older tunnel has to finish what it carries
DRAIN = 30.0
# Demand counts for so long, and a spare that nobody took for as long goes
RECENT = 60.0
# A replacement that failed is not tried again before
PAUSE = 5.0
DOWN = "it is down"
_OTHERS = "its gateway makes other tunnels now"


@dataclass(frozen=True, slots=True)
class Replace:
    """Make another tunnel for this one's holder, and let this one go when it is up."""

    tunnel: str
    why: str


@dataclass(frozen=True, slots=True)
class Retire:
    """Give this tunnel no more requests; it is removed after `drain` seconds."""

    tunnel: str
    why: str
    drain: float = DRAIN


@dataclass(frozen=True, slots=True)
class Remove:
    """Nothing goes through this tunnel any more: take it away on both sides."""

    tunnel: str


@dataclass(frozen=True, slots=True)
class Spare:
    """Make one more spare tunnel at this gateway."""

    gateway: str


Order = Replace | Retire | Remove | Spare


def due(
    made: Iterable[Made],
    states: Mapping[str, State],
    profiles: Iterable[Profile],
    gateways: Iterable[Gateway],
    taken: Mapping[str, Iterable[float]],
    failed: Mapping[str, float],
    unfit: Mapping[str, str],
    now: float,
) -> tuple[Order, ...]:
    """Return what to do now.

    `unfit` says of tunnels why no request of their holders may go by them any more.
    `taken` says for each gateway when its tunnels were asked for, `failed` when a replacement of a tunnel, or a spare
    at a gateway, could not be made last.
    """
    known = tuple(made)
    by_name = {profile.name: profile for profile in profiles}
    offers = {gateway.name: gateway for gateway in gateways}
    wanted = any(profile.holding is not None for profile in by_name.values())
    twins = _twins(known, states, unfit)
    found: list[Order] = []
    for one in known:
        order = twins.get(one.name) or _of(one, states.get(one.name, State.GONE), by_name, offers, failed, unfit, now)
        found += [order] if order is not None else []
    for gateway in offers.values():
        waiting = [one for one in known if one.gateway == gateway.name and one.holder is None and one.leaving is None]
        spares = [one for one in waiting if _as_offered(one, gateway)]
        target = spare_target(gateway, taken.get(gateway.name, ()), now) if wanted else 0
        if len(spares) < target and now >= failed.get(gateway.name, -PAUSE) + PAUSE:
            found.append(Spare(gateway.name))
        idle = sorted((one for one in spares if now - one.since > RECENT or not wanted), key=lambda one: one.since)
        found += [Retire(one.name, "nobody needs it", 0) for one in idle[: max(0, len(spares) - target)]]
    return tuple(found)


def spare_target(gateway: Gateway, taken: Iterable[float], now: float) -> int:
    """Return how many spare tunnels should wait: as many as were taken lately, within the gateway's bounds."""
    return max(gateway.least, min(gateway.most, sum(now - at <= RECENT for at in taken)))


def current(made: Iterable[Made], holder: Holder, carries: Callable[[str], bool]) -> Made | None:
    """Return the tunnel that takes a holder's requests: the newest that carries, else the oldest; None without one."""
    own = sorted((one for one in made if one.holder == holder and one.leaving is None), key=lambda one: one.since)
    return next((one for one in reversed(own) if carries(one.name)), own[0] if own else None)


def _twins(known: Iterable[Made], states: Mapping[str, State], unfit: Mapping[str, str]) -> dict[str, Retire]:
    """Return which tunnels leave since their holder has another: an agent was killed while that one took over."""
    own: dict[Holder, list[Made]] = {}
    for one in known:
        if one.holder is not None and one.leaving is None and not unfit.get(one.name):
            own.setdefault(one.holder, []).append(one)
    found = {}
    for holder, made in own.items():
        takes = current(made, holder, lambda name: states.get(name, State.GONE).carries)
        for one in made:
            if takes is None or one is takes:
                continue
            if takes.since >= one.since:
                found[one.name] = Retire(one.name, "a newer one has taken its place")
            elif states.get(one.name) is State.FAILED:
                found[one.name] = Retire(one.name, "it does not come up", 0)
    return found


def _of(
    one: Made,
    state: State,
    profiles: Mapping[str, Profile],
    gateways: Mapping[str, Gateway],
    failed: Mapping[str, float],
    unfit: Mapping[str, str],
    now: float,
) -> Order | None:
    if one.leaving is not None:
        return Remove(one.name) if now >= one.leaving or state in (State.FAILED, State.GONE) else None
    gateway = gateways.get(one.gateway)
    if one.holder is None:
        if gateway is not None and not _as_offered(one, gateway):
            return Retire(one.name, _OTHERS, 0)
        return Retire(one.name, "it does not come up", 0) if state is State.FAILED else None
    profile = profiles.get(one.holder.profile)
    if profile is None or profile.holding is None:
        return Retire(one.name, "its profile has no holders any more")
    if why := unfit.get(one.name):
        return Retire(one.name, why, 0)
    if now - one.used > profile.holding.idle:
        return Retire(one.name, "it carried nothing for long enough")
    why = _worn(one, state, profile, profile.holding, now)
    if not why and gateway is not None and one.kind is not gateway.kind:
        why = _OTHERS
    waits = now < failed.get(one.name, -PAUSE) + PAUSE
    return Replace(one.name, why) if why and not waits else None


def _as_offered(one: Made, gateway: Gateway) -> bool:
    return (one.kind, one.level, one.labels) == (gateway.kind, gateway.level, gateway.labels)


def _worn(one: Made, state: State, profile: Profile, holding: Holding, now: float) -> str:
    """Return why another tunnel should take this one's place; nothing where it should not."""
    if state is State.FAILED and profile.on_failure is OnFailure.NEXT:
        return DOWN
    if holding.rotate and now - one.since > holding.rotate:
        return "its keys are old"
    return ""
