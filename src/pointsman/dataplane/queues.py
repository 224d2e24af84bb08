"""Which queues the lanes get on devices whose rate is known, and the steps from what is there to what should be.

A lane's packets name their class by priority, which the guard sets on them, so no filter is needed. Queues decide
what goes first and never what leaves: after any step, packets are only sorted less well.
"""

from collections.abc import Iterable

from pointsman.model.profile import Profile, Qos
from pointsman.model.queues import MAJOR, REST, WHOLE, Discipline, DropQueue, Part, PutQueue, Queue, Queues, QueueStep
from pointsman.model.tunnel import Lane, Tunnel

# Who is first to have what others leave
_ORDER = {Qos.INTERACTIVE: 1, Qos.DEFAULT: 2, Qos.BULK: 3}
# Parts of a device's rate: what no lane sent, and what a lane without a guarantee has nevertheless
_REST_PART = 10
_LEAST_PART = 100
_LEAST = 1000


def want_queues(tunnels: Iterable[Tunnel], lanes: Iterable[Lane], profiles: Iterable[Profile], mask: int) -> Queues:
    """Return the queues of all tunnels whose rate is known, one for each lane."""
    known = {profile.name: profile for profile in profiles}
    lanes = tuple(lane for lane in lanes if lane.profile in known)
    parts: set[Part] = set()
    for tunnel in tunnels:
        if tunnel.rate is not None and tunnel.device:
            own = [(known[lane.profile], minor(lane, mask)) for lane in lanes if lane.tunnel == tunnel.name]
            parts |= _of_device(tunnel.device, tunnel.rate // 8, own)
    return frozenset(parts)


def minor(lane: Lane, mask: int) -> int:
    """Return the number of a lane's class; it is the lane's own, on whatever device."""
    return (lane.mark & mask) // (mask & -mask)


def priority(lane: Lane, mask: int) -> str:
    """Return what names a lane's class, as `tc` writes it."""
    return f"{MAJOR:x}:{minor(lane, mask):x}"


def queued_devices(queues: Queues) -> frozenset[str]:
    """Return the devices that have queues of ours."""
    return frozenset(part.device for part in queues if isinstance(part, Discipline))


def queue_steps(want: Queues, have: Queues) -> tuple[QueueStep, ...]:
    """Return the steps: a device's discipline comes before its queues, and takes them along when it goes."""
    kept = {_key(part) for part in want}
    lost = {part.device for part in have if isinstance(part, Discipline)} - queued_devices(want)
    puts = [PutQueue(part) for part in sorted(want - have, key=_key)]
    drops = [
        DropQueue(part)
        for part in sorted(have, key=_key)
        if _key(part) not in kept and (part.device not in lost or isinstance(part, Discipline))
    ]
    return (*puts, *drops)


def _of_device(device: str, rate: int, lanes: list[tuple[Profile, int]]) -> set[Part]:
    rest = max(_LEAST, rate // _REST_PART)
    wished = [max(_LEAST, rate // _LEAST_PART, (profile.limits.guaranteed or 0) // 8) for profile, _ in lanes]
    # promised is never more than there is: all give up the same part
    room, sum_ = max(_LEAST, rate - rest), max(1, sum(wished))
    parts: set[Part] = {Discipline(device), Queue(device, WHOLE, rate, rate, 0)}
    parts.add(Queue(device, REST, rest, rate, _ORDER[Qos.DEFAULT]))
    for (profile, number), wish in zip(lanes, wished, strict=True):
        most = min(rate, (profile.limits.bandwidth or 8 * rate) // 8)
        own = min(most, wish if sum_ <= room else wish * room // sum_)
        parts.add(Queue(device, number, max(1, own), most, _ORDER[profile.qos]))
    return parts


def _key(part: Part) -> tuple[str, int, int]:
    match part:
        case Discipline(device):
            return device, 0, 0
        case Queue(device, number, _, _, _):
            return device, 1 if number == WHOLE else 2, number
