"""Does what the guard let onto a tunnel's lanes agree with what the tunnel took? Counters in, verdicts out. Pure.

Counters cannot be read at one instant, so each side is read such that its interval surely holds the other's: the
tunnel's own counter from before the guard's first reading to after its last, the device's the other way round.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pointsman.dataplane.nftables import lane_counter
from pointsman.model.tunnel import Kind, Lane, Tunnel
from pointsman.node.proof import Finding, Reason

Counters = Mapping[str, tuple[int, int]]

# Bytes that may be on their way: what a device's queue holds of one flow, and handshakes and probes of some seconds.
SLACK = 65536
# A queue that is full drops a few packets in a hundred before the sender slows down.
DROPPED = 0.05
# A packet of 64 KiB counts once for the guard and leaves as 46, each with up to 72 bytes of headers: 5 %. What is
# counted while the guard is replaced is lost: as much again.
SPLIT = 0.10


class Judgement(StrEnum):
    """What the counters of one tunnel say for one interval."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Reading:
    """All counters at about one time. Bytes; `guard` has packets and bytes by counter.

    `took` is what each tunnel says it has sent itself, encapsulation included; `early` and `late` what each device has
    sent, read just before and just after the guard's.
    """

    tunnels: tuple[Tunnel, ...]
    lanes: tuple[Lane, ...]
    guard: Counters
    took: Mapping[str, int]
    early: Mapping[str, int]
    late: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Balance:
    """One tunnel over one interval: what the guard let out to it, what it sent, and what that says."""

    tunnel: str
    packets: int
    guard: int
    sent: int
    judgement: Judgement
    why: str = ""
    finding: Finding | None = None


def balance(before: Reading, after: Reading, took_then: Mapping[str, int]) -> tuple[Balance, ...]:
    """Return the verdict for every tunnel; `took_then` is what tunnels say they sent, read well after `after`."""
    old = {tunnel.name: tunnel for tunnel in before.tunnels}
    return tuple(_of(tunnel, old.get(tunnel.name), before, after, took_then) for tunnel in after.tunnels)


def _of(now: Tunnel, then: Tunnel | None, before: Reading, after: Reading, took_then: Mapping[str, int]) -> Balance:
    names = {lane_counter(lane) for lane in (*before.lanes, *after.lanes) if lane.tunnel == now.name}
    packets = _grown(names, before.guard, after.guard, 0)
    octets = _grown(names, before.guard, after.guard, 1)
    sent = took_then.get(now.name, 0) - before.took.get(now.name, 0)
    said = (now.name, packets, octets, sent)
    if octets < 0:
        return Balance(*said, Judgement.UNKNOWN, "the guard began to count anew")
    if then is None or not (then.state.carries and now.state.carries) or then.device != now.device:
        if octets == 0:
            return Balance(*said, Judgement.RIGHT, "nothing was sent to it")
        return Balance(*said, Judgement.UNKNOWN, "it was not up all the time")
    if sent < 0:
        return Balance(*said, Judgement.UNKNOWN, "it began to count anew")
    if octets > sent + SLACK + DROPPED * octets:
        finding = Finding(Reason.SHORT, f"{now.name}: {octets} bytes by the guard", f"it took {sent} bytes")
        return Balance(*said, Judgement.WRONG, "it took less than the guard let out", finding)
    inner = after.early.get(now.device, 0) - before.late.get(now.device, 0)
    lost = names & before.guard.keys() - after.guard.keys()
    if now.kind is not Kind.DIRECT and not lost and inner > octets + SLACK + SPLIT * octets:
        finding = Finding(Reason.STRAY, f"{now.name}: {octets} bytes by the guard", f"{now.device} sent {inner} bytes")
        return Balance(*said, Judgement.WRONG, "its device sent what no lane counted", finding)
    return Balance(*said, Judgement.RIGHT)


def _grown(names: Iterable[str], before: Counters, after: Counters, place: int) -> int:
    return sum(after[name][place] - before.get(name, (0, 0))[place] for name in names if name in after)


def drops(before: Counters, after: Counters) -> dict[str, int]:
    """Return by how many packets each counter of what was held has risen."""
    held = (name for name in after if name.startswith("dropped_"))
    risen = {name: after[name][0] - before.get(name, (0, 0))[0] for name in held}
    return {name: packets for name, packets in sorted(risen.items()) if packets > 0}
