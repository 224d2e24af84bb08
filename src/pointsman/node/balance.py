"""Does what the guard let onto a tunnel's lanes agree with what the tunnel took? Counters in, verdicts out. Pure.

Counters cannot be read at one instant, so each side is read such that its interval surely holds the other's: the
tunnel's own counter from before the guard's first reading to after its last, the device's the other way round.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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
    sent, read just before and just after the guard's. `gone` is what lanes had let out that went since the reading
    before, None where nobody read it.
    """

    tunnels: tuple[Tunnel, ...]
    lanes: tuple[Lane, ...]
    guard: Counters
    took: Mapping[str, int]
    early: Mapping[str, int]
    late: Mapping[str, int]
    gone: Mapping[Lane, tuple[int, int] | None] = field(default_factory=dict)


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
    """Return the verdict for every tunnel, but for one that went away and was sent nothing since.

    `took_then` is what tunnels say they sent, read well after `after`.
    """
    old = {tunnel.name: tunnel for tunnel in before.tunnels}
    there = [_of(tunnel, old.get(tunnel.name), before, after, took_then) for tunnel in after.tunnels]
    names = {lane.tunnel for lane in (*before.lanes, *after.gone)} - {tunnel.name for tunnel in after.tunnels}
    return (*there, *(found for name in sorted(names) if (found := _gone(name, before, after))))


def _gone(name: str, before: Reading, after: Reading) -> Balance | None:
    """Return that nobody knows what a tunnel took that is no more, None where its lanes let nothing out."""
    packets, octets, lost = _let_out(name, before, after)
    if octets == 0 and not lost:
        return None
    return Balance(name, packets, octets, 0, Judgement.UNKNOWN, "it went away")


def _let_out(name: str, before: Reading, after: Reading) -> tuple[int, int, frozenset[str]]:
    """Return packets and bytes by all lanes of a tunnel, and the counters whose last value nobody read."""
    names = {lane_counter(lane) for lane in (*before.lanes, *after.lanes, *after.gone) if lane.tunnel == name}
    gone = {lane_counter(lane): count for lane, count in after.gone.items()}
    last = {counter: count for counter, count in gone.items() if count} | dict(after.guard)
    lost = frozenset(names & (before.guard.keys() | gone.keys()) - last.keys())
    return _grown(names, before.guard, last, 0), _grown(names, before.guard, last, 1), lost


def _of(now: Tunnel, then: Tunnel | None, before: Reading, after: Reading, took_then: Mapping[str, int]) -> Balance:
    packets, octets, lost = _let_out(now.name, before, after)
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
