"""How the kernel treats the packets of a profile: code point, queue priority and bandwidth in both directions.

The limit is one bucket per profile and direction, shared by all lanes of the profile on whatever tunnel. It polices:
what exceeds it is dropped, and TCP settles below it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pointsman.model.profile import Profile, Qos
from pointsman.model.tunnel import Lane

# Seconds of traffic that may come at once, beside the one second that the kernel always gives a bucket of bytes.
# Below 64 KiB a bucket would drop whole segments of an offloading device.
_BURST_SECONDS = 0.1
_BURST_LEAST = 131_072

# Queue classes as `tc` writes them: priorities 6, 0 and 2 of the default three-band discipline
PRIORITY = {Qos.INTERACTIVE: "0:6", Qos.DEFAULT: "0:0", Qos.BULK: "0:2"}


@dataclass(frozen=True, slots=True)
class Treatment:
    """What one profile's packets get. `priority` is written as `tc` does; `bandwidth` is in bits per second."""

    profile: str
    dscp: int
    priority: str
    bandwidth: int | None


def treatments(profiles: Iterable[Profile]) -> tuple[Treatment, ...]:
    """Return the treatment of each profile."""
    return tuple(
        Treatment(profile.name, profile.qos.dscp, PRIORITY[profile.qos], profile.limits.bandwidth)
        for profile in profiles
    )


def limit_names(lanes: Iterable[Lane], treated: Iterable[Treatment]) -> Mapping[str, str]:
    """Return the name of each limited profile's buckets. They are called after the profile's first lane."""
    limited = {treatment.profile for treatment in treated if treatment.bandwidth is not None}
    names: dict[str, str] = {}
    for lane in sorted(lanes, key=lambda lane: lane.mark):
        if lane.profile in limited:
            names.setdefault(lane.profile, f"rate_{lane.mark:08x}")
    return names


def write_limits(names: Mapping[str, str], treated: Iterable[Treatment]) -> str:
    """Return the buckets as text inside a table."""
    text = ""
    for treatment in treated:
        if treatment.bandwidth is None or treatment.profile not in names:
            continue
        for way in ("out", "in"):
            text += f"  limit {names[treatment.profile]}_{way} {{\n    {bucket(treatment.bandwidth)}\n  }}\n"
    return text


def bucket(bandwidth: int) -> str:
    """Return the limit that what exceeds this bandwidth meets, in bits per second."""
    rate = max(1, bandwidth // 8)
    return f"rate over {rate} bytes/second burst {max(_BURST_LEAST, int(rate * _BURST_SECONDS))} bytes"


def outbound(treatment: Treatment, named: str, queue: str) -> tuple[str, ...]:
    """Return the rules for a packet that is about to leave by a lane of this profile; `queue` is the lane's, if any."""
    limit = (f'limit name "{named}_out" counter name over_rate drop',) if named else ()
    return (
        *limit,
        f"ip dscp set {treatment.dscp}",
        f"ip6 dscp set {treatment.dscp}",
        f"meta priority set {queue or treatment.priority}",
    )


def inbound(named: str) -> tuple[str, ...]:
    """Return the rules for a packet that came back on a lane of this profile."""
    return (f'limit name "{named}_in" counter name over_rate drop',) if named else ()
