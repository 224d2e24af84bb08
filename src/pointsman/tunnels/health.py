"""What a tunnel's probes tell: loss over a window, smoothed latency, jitter, and whether its path is dead. Pure.

Latency and its variation are smoothed as RFC 6298 does for TCP, jitter as RFC 3550 does for RTP; times are in seconds.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pointsman.model.profile import Health
from pointsman.model.tunnel import State
from pointsman.tunnels.port import Observation

WINDOW = 50
# Below that one lost probe would be a verdict
_ENOUGH = 10
_LONGEST_PATIENCE = 1.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """What is known of a path. `lost` says of each of the last probes whether it was, the newest last."""

    lost: tuple[bool, ...] = ()
    latency: float | None = None
    variation: float = 0.0
    jitter: float = 0.0
    last: float = 0.0
    losses: int = 0
    answers: int = 0
    dead: bool = False
    poor: bool = False

    @property
    def loss(self) -> float:
        """Return the part of the last probes that was lost."""
        return sum(self.lost) / len(self.lost) if self.lost else 0.0


def missed(pulse: Pulse, limits: Health) -> Pulse:
    """Return the pulse after a probe without an answer."""
    losses = pulse.losses + 1
    found = replace(
        pulse, lost=_window(pulse, True), losses=losses, answers=0, dead=pulse.dead or losses >= limits.down
    )
    return replace(found, poor=_poor(found, limits))


def answered(pulse: Pulse, latency: float, limits: Health, late: bool = False) -> Pulse:
    """Return the pulse after an answer. One that came late was counted as a loss, but proves that the path lives."""
    answers = pulse.answers + 1
    smooth, variation, jitter = latency, latency / 2, 0.0
    if pulse.latency is not None:
        variation = 0.75 * pulse.variation + 0.25 * abs(pulse.latency - latency)
        smooth = 0.875 * pulse.latency + 0.125 * latency
        jitter = pulse.jitter + (abs(latency - pulse.last) - pulse.jitter) / 16
    found = Pulse(
        lost=pulse.lost if late else _window(pulse, False),
        latency=smooth,
        variation=variation,
        jitter=jitter,
        last=latency,
        answers=answers,
        dead=pulse.dead and answers < limits.up,
        poor=pulse.poor,
    )
    return replace(found, poor=_poor(found, limits))


def patience(pulse: Pulse, limits: Health) -> float:
    """Return for how long an answer is awaited: RFC 6298's time-out, from one interval to a second."""
    expected = 0.0 if pulse.latency is None else pulse.latency + 4 * pulse.variation
    return min(max(expected, limits.interval), _LONGEST_PATIENCE)


def judged(seen: Observation, pulse: Pulse, limits: Health) -> Observation:
    """Return the observation of a tunnel with what its probes say about it; they only ever make it worse."""
    if seen.state is not State.UP:
        return seen
    if pulse.dead:
        return replace(seen, state=State.PROVISIONING, why=f"{limits.down} probes in a row had no answer")
    if pulse.poor:
        return replace(seen, state=State.DEGRADED, why=_complaint(limits))
    return seen


def strictest(every: Iterable[Health]) -> Health:
    """Return what satisfies all of these; the default where there is none."""
    found = tuple(every)
    if not found:
        return Health()
    latencies = [one.latency for one in found if one.latency is not None]
    return Health(
        interval=min(one.interval for one in found),
        down=min(one.down for one in found),
        up=max(one.up for one in found),
        loss=min(one.loss for one in found),
        latency=min(latencies, default=None),
    )


def _window(pulse: Pulse, lost: bool) -> tuple[bool, ...]:
    return (*pulse.lost[1 - WINDOW :], lost)


def _poor(pulse: Pulse, limits: Health) -> bool:
    """Say whether the path is worse than asked for; once it is, it has to become clearly better to be well."""
    ease = 0.5 if pulse.poor else 1.0
    loses = len(pulse.lost) >= _ENOUGH and pulse.loss > limits.loss * ease
    delays = (
        limits.latency is not None and pulse.latency is not None and pulse.latency > limits.latency * (1 + ease) / 2
    )
    return loses or delays


def _complaint(limits: Health) -> str:
    # without figures that change: whoever plans with a tunnel must not see another one every second
    slow = "" if limits.latency is None else f", or takes more than {limits.latency * 1000:.0f} ms"
    return f"loses more than {limits.loss:.0%} of the probes{slow}"
