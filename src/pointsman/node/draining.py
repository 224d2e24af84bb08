"""Lanes that their profiles have left: for how long what is on them may go on. Pure; times are in seconds."""

import math
from collections.abc import Iterable, Mapping

from pointsman.model.profile import OnMove, Profile
from pointsman.model.tunnel import Lane

# What a profile that is no more, or a holder that has gone, leaves behind
_WITHIN = 30.0


def drained(
    lanes: Iterable[Lane],
    left: Iterable[Lane],
    ends: Mapping[Lane, float],
    profiles: Iterable[Profile],
    now: float,
) -> dict[Lane, float]:
    """Return when what is on each lane has to end: on those that were left now, and on those that `ends` knows."""
    grace = {profile.name: _grace(profile) for profile in profiles}
    fresh = {lane: now + grace.get(lane.profile, _WITHIN) for lane in left}
    until = fresh | dict(ends)
    return {lane: until[lane] for lane in lanes if lane in until}


def _grace(profile: Profile) -> float:
    return {OnMove.KEEP: math.inf, OnMove.DRAIN: profile.drain_within, OnMove.RESET: 0.0}[profile.on_move]
