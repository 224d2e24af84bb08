"""Queues of ours on a device, and the steps that add or remove one. The handle says that they are ours."""

from dataclasses import dataclass

# The major number of the discipline's handle; of its classes WHOLE holds all others, and REST is for what no lane sent
MAJOR = 0x7112
WHOLE = 0xFFFE
REST = 0xFFFF


@dataclass(frozen=True, slots=True, order=True)
class Discipline:
    """The root discipline of a device: HTB, with REST for what names no class of it."""

    device: str


@dataclass(frozen=True, slots=True, order=True)
class Queue:
    """One class. Rates are bytes per second: what it has in any case, and with what others leave.

    What others leave goes to the lowest `priority` first.
    """

    device: str
    minor: int
    guaranteed: int
    most: int
    priority: int


Part = Discipline | Queue
Queues = frozenset[Part]


@dataclass(frozen=True, slots=True)
class PutQueue:
    """Add this, or change what is there to it."""

    part: Part


@dataclass(frozen=True, slots=True)
class DropQueue:
    """Remove this, with all that it holds, or find it gone already."""

    part: Part


QueueStep = PutQueue | DropQueue
