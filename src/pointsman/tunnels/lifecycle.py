"""The life of a tunnel as one table, and what the node should do for it now. Time is an argument."""

from dataclasses import dataclass, replace
from enum import StrEnum

from pointsman.model.tunnel import State
from pointsman.tunnels.port import Observation

# A gateway that has not answered by then is not about to
START_WITHIN = 20.0
_LONGEST_PAUSE = 30.0


class Event(StrEnum):
    """What can happen to a tunnel."""

    STARTED = "started"
    CARRIES = "carries"
    SILENT = "silent"
    LOST = "lost"
    STOPPED = "stopped"


# A pair that is missing here leaves the state as it is
TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.DOWN, Event.STARTED): State.STARTING,
    (State.DOWN, Event.CARRIES): State.UP,
    (State.DOWN, Event.LOST): State.FAILED,
    (State.STARTING, Event.CARRIES): State.UP,
    (State.STARTING, Event.SILENT): State.FAILED,
    (State.STARTING, Event.LOST): State.FAILED,
    (State.STARTING, Event.STOPPED): State.DOWN,
    (State.UP, Event.SILENT): State.FAILED,
    (State.UP, Event.LOST): State.FAILED,
    (State.UP, Event.STOPPED): State.DOWN,
    (State.FAILED, Event.STARTED): State.STARTING,
    (State.FAILED, Event.CARRIES): State.UP,
    (State.FAILED, Event.STOPPED): State.DOWN,
}


class Order(StrEnum):
    """What the node should do for a tunnel now."""

    START = "start"
    STOP = "stop"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Life:
    """Where a tunnel is in its life, since when, and how often it has failed in a row."""

    state: State = State.DOWN
    since: float = 0.0
    failures: int = 0
    why: str = ""


def observed(life: Life, seen: Observation, now: float) -> Life:
    """Return the life after an observation."""
    after = moved(life, _event(life, seen, now), now)
    if after.state is State.STARTING and seen.why:
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
    return Life(state, now, 0 if state in (State.UP, State.DOWN) else failures, life.why)


def due(life: Life, wanted: bool, alive: bool, now: float) -> Order:
    """Return what to do: start what is wanted and has no daemon, with growing pauses; stop what is not wanted.

    A tunnel that failed but whose daemon lives is left alone: the daemon itself keeps calling the gateway, and
    a new start would throw away its sessions.
    """
    if not wanted:
        return Order.NOTHING if life.state is State.DOWN and not alive else Order.STOP
    if alive and life.state is not State.DOWN:
        return Order.NOTHING
    if life.state is State.FAILED and now < life.since + pause(life.failures):
        return Order.NOTHING
    return Order.START


def pause(failures: int) -> float:
    """Return how many seconds to wait after so many failures in a row."""
    return min(0.5 * 2.0 ** min(failures - 1, 10), _LONGEST_PAUSE) if failures else 0.0


def _event(life: Life, seen: Observation, now: float) -> Event | None:
    if seen.state is State.UP:
        return Event.CARRIES
    if seen.state is State.FAILED:
        return Event.LOST
    if seen.state is State.DOWN:
        return Event.LOST if life.state in (State.STARTING, State.UP) else None
    if life.state is State.DOWN:
        return Event.STARTED
    if life.state is State.UP:
        return Event.SILENT
    return Event.SILENT if life.state is State.STARTING and now >= life.since + START_WITHIN else None
