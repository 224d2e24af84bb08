"""What requests tell of a tunnel that nobody probes: one that answers no attempt any more is doubted for a while. Pure.

Times are in seconds of a steady clock.
"""

import math
from dataclasses import dataclass, replace

from pointsman.model.tunnel import State
from pointsman.tunnels.port import Observation

# So many that failed, within so many seconds, and none answered in as many
ENOUGH = 5
WINDOW = 15.0
# After that it is tried again: what nobody uses is answered by nobody
DOUBTED = 30.0
_NEVER = -math.inf


@dataclass(frozen=True, slots=True)
class Attempts:
    """When the last few failed, when they were last enough to doubt the tunnel, and when one was answered last."""

    failed: tuple[float, ...] = ()
    doubted: float = _NEVER
    answered: float = _NEVER


def failed(known: Attempts, now: float) -> Attempts:
    """Return what is known after an attempt that could not connect in time."""
    last = (*known.failed[1 - ENOUGH :], now)
    enough = len(last) == ENOUGH and now - last[0] <= WINDOW
    return replace(known, failed=last, doubted=now if enough else known.doubted)


def answered(known: Attempts, when: float) -> Attempts:
    """Return what is known after an attempt that the other side answered at this time."""
    return replace(known, answered=max(known.answered, when))


def doubtful(known: Attempts, since: float, now: float) -> bool:
    """Say whether the tunnel is doubted now. What was before `since`, when it came up, does not count against it.

    An answer counts for it from the moment it is known, also if it came while others failed.
    """
    return max(since, now - DOUBTED) < known.doubted and known.answered < known.doubted - WINDOW


def over(known: Attempts, now: float) -> bool:
    """Say whether all that is known is too old to mean anything."""
    return now - max(*known.failed[-1:], known.answered, known.doubted) > WINDOW + DOUBTED


def judged(seen: Observation, known: Attempts, since: float, now: float) -> Observation:
    """Return the observation of a tunnel with what its attempts say about it; they only ever make it worse."""
    if seen.state is not State.UP or not doubtful(known, since, now):
        return seen
    # without figures that change: whoever plans with a tunnel must not see another one every second
    why = f"{ENOUGH} attempts to connect failed within {WINDOW:.0f} s, none was answered"
    return replace(seen, state=State.DEGRADED, why=why)
