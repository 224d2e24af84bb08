"""Lanes that their profiles have left: for how long what is on them may go on. Pure; times are in seconds."""

import math
from collections.abc import Collection, Iterable, Mapping

from pointsman.model.policy import Policy
from pointsman.model.profile import OnMove, Profile
from pointsman.model.tunnel import Lane, Tunnel
from pointsman.tunnels.select import misfit

# What a profile that is no more, or a holder that has gone, leaves behind
_WITHIN = 30.0


def drained(
    lanes: Iterable[Lane],
    left: Iterable[Lane],
    ends: Mapping[Lane, float],
    profiles: Iterable[Profile],
    unfit: Collection[Lane],
    now: float,
) -> dict[Lane, float]:
    """Return when what is on each lane has to end: on those that were left now, and on those that `ends` knows.

    On those that are `unfit` by now, since the policy asks for more, nothing may go on whatever the profile says.
    """
    grace = {profile.name: _grace(profile) for profile in profiles}
    fresh = {lane: now + grace.get(lane.profile, _WITHIN) for lane in left}
    until = fresh | dict(ends) | dict.fromkeys(unfit, now)
    return {lane: until[lane] for lane in lanes if lane in until}


def unfit_lanes(lanes: Iterable[Lane], policy: Policy, tunnels: Iterable[Tunnel]) -> frozenset[Lane]:
    """Return the lanes of pool tunnels that are not what their profile asks for."""
    profiles = {profile.name: profile for profile in policy.profiles}
    pool = {tunnel.name: tunnel for tunnel in tunnels}
    return frozenset(
        lane
        for lane in lanes
        if lane.tunnel in pool and lane.profile in profiles and misfit(pool[lane.tunnel], profiles[lane.profile])
    )


def _grace(profile: Profile) -> float:
    return {OnMove.KEEP: math.inf, OnMove.DRAIN: profile.drain_within, OnMove.RESET: 0.0}[profile.on_move]
