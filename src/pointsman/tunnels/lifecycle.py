"""The life of a tunnel as one table, and what the node should do for it now. Time is an argument.

`python -m pointsman.tunnels.lifecycle` prints the diagram of it that docs/operations.md shows.
"""

import sys
from dataclasses import dataclass, replace
from enum import StrEnum

from pointsman.model.tunnel import State
from pointsman.tunnels.port import Observation

# A gateway that has not answered by then is not about to
START_WITHIN = 20.0
_LONGEST_PAUSE = 30.0
# A path that was away for a moment needs no new session
REVIVE = 5.0


class Event(StrEnum):
    """What can happen to a tunnel."""

    STARTED = "started"
    CARRIES = "carries"
    SUFFERS = "suffers"
    SILENT = "silent"
    LOST = "lost"
    RETIRED = "retired"


# A pair that is missing here leaves the state as it is. What is GONE stays gone: its successor is another tunnel
TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.PLANNED, Event.STARTED): State.PROVISIONING,
    (State.PLANNED, Event.CARRIES): State.UP,
    (State.PLANNED, Event.SUFFERS): State.DEGRADED,
    (State.PLANNED, Event.LOST): State.FAILED,
    (State.PROVISIONING, Event.CARRIES): State.UP,
    (State.PROVISIONING, Event.SUFFERS): State.DEGRADED,
    (State.PROVISIONING, Event.SILENT): State.FAILED,
    (State.PROVISIONING, Event.LOST): State.FAILED,
    (State.UP, Event.SUFFERS): State.DEGRADED,
    (State.UP, Event.SILENT): State.FAILED,
    (State.UP, Event.LOST): State.FAILED,
    (State.UP, Event.RETIRED): State.DRAINING,
    (State.DEGRADED, Event.CARRIES): State.UP,
    (State.DEGRADED, Event.SILENT): State.FAILED,
    (State.DEGRADED, Event.LOST): State.FAILED,
    (State.DEGRADED, Event.RETIRED): State.DRAINING,
    (State.DRAINING, Event.SILENT): State.GONE,
    (State.DRAINING, Event.LOST): State.GONE,
    (State.FAILED, Event.STARTED): State.PROVISIONING,
    (State.FAILED, Event.CARRIES): State.UP,
    (State.FAILED, Event.SUFFERS): State.DEGRADED,
}


@dataclass(frozen=True, slots=True)
class Life:
    """Where a tunnel is in its life, since when, and how often it has failed in a row."""

    state: State = State.PLANNED
    since: float = 0.0
    failures: int = 0
    why: str = ""


def observed(life: Life, seen: Observation, now: float) -> Life:
    """Return the life after an observation."""
    after = moved(life, _event(life, seen, now), now)
    if after.state in (State.PROVISIONING, State.DEGRADED) and seen.why:
        return replace(after, why=seen.why)
    if after.state is State.FAILED:
        return replace(after, why=seen.why or after.why or "no answer from the gateway")
    return replace(after, why="") if after.state is State.UP else after


def moved(life: Life, event: Event | None, now: float) -> Life:
    """Return the life after an event, as the table says."""
    state = TRANSITIONS.get((life.state, event), life.state) if event else life.state
    if state is life.state:
        return life
    failures = life.failures + (state is State.FAILED)
    return Life(state, now, 0 if state.carries or state is State.GONE else failures, life.why)


def due(life: Life, alive: bool, now: float) -> bool:
    """Return whether to start the tunnel now: one that has no daemon, with growing pauses.

    A tunnel that failed but whose daemon lives is left alone: the daemon itself keeps calling the gateway, and
    a new start would throw away its sessions.
    """
    if life.state in (State.DRAINING, State.GONE) or (alive and life.state is not State.PLANNED):
        return False
    return life.state is not State.FAILED or now >= life.since + pause(life.failures)


def forgotten(life: Life, seen: Observation, revived: float, now: float) -> bool:
    """Return whether to greet the gateway anew: the daemon has a session, and nothing comes through it any more.

    A gateway that was started again knows no session, and daemons wait for long before they take that for granted.
    `revived` is when it was done last.
    """
    return life.state is State.FAILED and seen.state is State.UP and now - max(life.since, revived) >= REVIVE


def pause(failures: int) -> float:
    """Return how many seconds to wait after so many failures in a row."""
    return min(0.5 * 2.0 ** min(failures - 1, 10), _LONGEST_PAUSE) if failures else 0.0


def diagram() -> str:
    """Return the table as a mermaid state diagram."""
    arrows: dict[tuple[State, State], list[Event]] = {}
    for (state, event), after in TRANSITIONS.items():
        arrows.setdefault((state, after), []).append(event)
    lines = [f"    {state} --> {after}: {', '.join(events)}" for (state, after), events in arrows.items()]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {Life().state}", *lines, f"    {State.GONE} --> [*]", ""])


def _event(life: Life, seen: Observation, now: float) -> Event | None:
    carried = life.state.carries or life.state is State.DRAINING
    told = {State.UP: Event.CARRIES, State.DEGRADED: Event.SUFFERS, State.FAILED: Event.LOST}.get(seen.state)
    if told is not None:
        return told
    if seen.state is State.GONE:
        return Event.LOST if life.state is State.PROVISIONING or carried else None
    if life.state is State.PLANNED:
        return Event.STARTED
    if carried:
        return Event.SILENT
    return Event.SILENT if life.state is State.PROVISIONING and now >= life.since + START_WITHIN else None


if __name__ == "__main__":
    sys.stdout.write(diagram())
