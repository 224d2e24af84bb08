"""The edge to queueing disciplines. It sees and touches only those with our handle."""

import errno
from collections.abc import Iterable, Iterator
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from pointsman.model.fault import Fault
from pointsman.model.queues import MAJOR, REST, WHOLE, Discipline, DropQueue, Part, PutQueue, Queue, Queues, QueueStep

_ROOT = MAJOR << 16
# An offloading device hands on 64 KiB at once; a burst below would hold each of them up
_BURST = 65_536
_BURST_SECONDS = 0.01
# What one class may send before the next of its priority has its turn, in bytes
_QUANTUM = 10_000
_GONE_ALREADY = frozenset({errno.ENOENT, errno.EINVAL, errno.ENODEV})


def observe_queues() -> Queues:
    """Return the queues of ours that the kernel has now."""
    try:
        with IPRoute() as kernel:
            names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in kernel.get_links()}
            ours = [one for one in kernel.get_qdiscs() if one["handle"] == _ROOT and one["index"] in names]
            return frozenset(part for one in ours for part in _parts(kernel, one["index"], names[one["index"]]))
    except (NetlinkError, OSError) as error:
        raise Fault("netlink-failed", "read queueing disciplines", str(error)) from error


def apply_queues(steps: Iterable[QueueStep]) -> tuple[Fault, ...]:
    """Carry out the steps in order; return what failed. A device that is stuck holds up no other.

    A discipline that somebody else gave a device stays, and the device is stuck. One that is not there is passed over.
    """
    steps = tuple(steps)
    stuck: dict[str, Fault] = {}
    if not steps:
        return ()
    try:
        with IPRoute() as kernel:
            for step in steps:
                device = step.part.device
                found = kernel.link_lookup(ifname=device)
                if found and device not in stuck:
                    try:
                        _carry_out(kernel, found[0], step)
                    except NetlinkError as error:
                        if isinstance(step, PutQueue) or error.code not in _GONE_ALREADY:
                            stuck[device] = Fault("queue-refused", f"give `{device}` queues", _why(error))
    except OSError as error:
        raise Fault("netlink-failed", "change queueing disciplines", str(error)) from error
    return tuple(stuck.values())


def _parts(kernel: IPRoute, index: int, device: str) -> Iterator[Part]:
    yield Discipline(device)
    for one in kernel.get_classes(index):
        if one["handle"] >> 16 == MAJOR:
            said = one.get_attr("TCA_OPTIONS").get_attr("TCA_HTB_PARMS")
            yield Queue(device, one["handle"] & 0xFFFF, said["rate"], said["ceil"], said["prio"])


def _carry_out(kernel: IPRoute, index: int, step: QueueStep) -> None:
    match step:
        case PutQueue(Discipline()):
            kernel.tc("add", "htb", index, handle=_ROOT, default=REST)
        case PutQueue(Queue() as queue):
            kernel.tc("replace-class", "htb", index, handle=_ROOT | queue.minor, **_settings(queue))
        case DropQueue(Discipline()):
            kernel.tc("del", None, index, handle=_ROOT, root=True)
        case DropQueue(Queue() as queue):
            # without a kind: pyroute2 would ask for the settings of what goes
            kernel.tc("del-class", "", index, handle=_ROOT | queue.minor)


def _settings(queue: Queue) -> dict[str, Any]:
    return {
        "parent": _ROOT if queue.minor == WHOLE else _ROOT | WHOLE,
        "rate": queue.guaranteed,
        "ceil": queue.most,
        "prio": queue.priority,
        "quantum": _QUANTUM,
        "burst": _burst(queue.guaranteed),
        "cburst": _burst(queue.most),
    }


def _burst(rate: int) -> int:
    return max(_BURST, int(rate * _BURST_SECONDS))


def _why(error: NetlinkError) -> str:
    return "it has a discipline of somebody else" if error.code == errno.EEXIST else str(error)
