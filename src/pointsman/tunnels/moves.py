"""When a profile goes from its tunnel to another one. Pure: where it stands comes in and goes out, time is an argument.

From a dead tunnel it goes at once. To a better one it goes only after that has been well for a while, and in any case
no sooner than `CALM` after its last move: tunnels that flap move nobody.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pointsman.model.profile import Choose, Profile
from pointsman.model.tunnel import Lease, State, Tunnel
from pointsman.tunnels.leases import assign
from pointsman.tunnels.select import NoTunnel, Selection

CALM = 30.0
# Faster by so much, for so long: below that latencies are noise
_FASTER = 0.8
_FASTER_FOR = 10.0


@dataclass(frozen=True, slots=True)
class Standing:
    """The tunnel that a profile is on, since when, and the better one that it might go to, well since when."""

    tunnel: str
    since: float
    rival: str = ""
    rival_since: float = 0.0


def standings(
    profiles: Iterable[Profile],
    tunnels: Iterable[Tunnel],
    leases: Iterable[Lease],
    latency: Mapping[str, float],
    before: Mapping[str, Standing],
    now: float,
) -> dict[str, Standing]:
    """Return where each profile stands now, by its name. `latency` is in seconds, by tunnel."""
    asked, offered = tuple(profiles), tuple(tunnels)
    wishes = assign(asked, offered, leases, latency=latency).selections
    suffering = frozenset(tunnel.name for tunnel in offered if tunnel.state is State.DEGRADED)
    found = {p.name: stand(p, wishes[p.name], before.get(p.name), suffering, latency, now) for p in asked}
    return {name: standing for name, standing in found.items() if standing is not None}


def stand(
    profile: Profile,
    wish: Selection,
    standing: Standing | None,
    suffering: frozenset[str],
    latency: Mapping[str, float],
    now: float,
) -> Standing | None:
    """Return where a profile stands, given what it would choose afresh."""
    if isinstance(wish, NoTunnel):
        return standing
    if standing is None or standing.tunnel not in wish.free:
        return Standing(wish.tunnel, now)
    wait = _wait(profile, standing.tunnel, wish.tunnel, suffering, latency)
    if wait is None:
        return replace(standing, rival="", rival_since=0.0)
    since = standing.rival_since if standing.rival == wish.tunnel else now
    if now >= max(since + wait, standing.since + CALM):
        return Standing(wish.tunnel, now)
    return replace(standing, rival=wish.tunnel, rival_since=since)


def well_since(tunnels: Iterable[Tunnel], before: Mapping[str, float], now: float) -> dict[str, float]:
    """Return since when each tunnel that was ever up is so without a break: infinity for one that is not now."""
    found = dict(before)
    for tunnel in tunnels:
        if tunnel.state is not State.UP:
            found |= {tunnel.name: math.inf} if tunnel.name in before else {}
        elif found.setdefault(tunnel.name, -math.inf) == math.inf:
            found[tunnel.name] = now
    return found


def resting(profiles: Iterable[Profile], well: Mapping[str, float], now: float) -> dict[str, frozenset[str]]:
    """Return by profile the tunnels that came back too short a time ago to share its connections again."""
    return {
        profile.name: frozenset(
            name
            for name, since in well.items()
            if since > -math.inf and (profile.fail_back is None or now < since + profile.fail_back)
        )
        for profile in profiles
        if profile.shared
    }


def _wait(
    profile: Profile, own: str, rival: str, suffering: frozenset[str], latency: Mapping[str, float]
) -> float | None:
    """Return for how long the rival has to be well before it is taken; None for never."""
    if rival == own:
        return None
    if own in suffering and rival not in suffering:
        return 0.0
    if profile.choose is Choose.LEAST_LATENCY and own in latency:
        return _FASTER_FOR if rival in latency and latency[rival] <= _FASTER * latency[own] else None
    return profile.fail_back
