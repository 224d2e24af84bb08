"""Routes, rules and marks of ours, and the steps that add or remove one. Numbers and ranges say that they are ours."""

from dataclasses import dataclass
from typing import Literal

PROTOCOL = 112
TABLES = range(7100, 8000)
MAIN = 254
UNREACHABLE_METRIC = 4278198272
DEVICE_METRIC = 100
PREFERENCES = range(7100, 7100 + 1024)
# Behind the rules of all marks, and before the main table
BOUND_PREFERENCE = PREFERENCES.stop
MASK = 0x3FF00000
# That of no lane: the kernel's own WireGuard packets carry it, so that the guard can free exactly these
OUTER_MARK = 0x00100000

Family = Literal[4, 6]
FAMILIES: tuple[Family, ...] = (4, 6)


@dataclass(frozen=True, slots=True, order=True)
class Route:
    """A default route of a tunnel's table: into `device`, or `unreachable` where that is empty."""

    table: int
    family: Family
    device: str
    metric: int


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """Packets with this mark are looked up in this table."""

    preference: int
    family: Family
    mark: int
    mask: int
    table: int


@dataclass(frozen=True, slots=True, order=True)
class Bound:
    """Packets of sockets that are bound to this device are looked up in this table, where no mark has led to a way."""

    preference: int
    family: Family
    device: str
    table: int


@dataclass(frozen=True, slots=True)
class Routing:
    """All routes and rules of ours, wanted or found."""

    routes: frozenset[Route] = frozenset()
    rules: frozenset[Rule | Bound] = frozenset()


@dataclass(frozen=True, slots=True)
class Put:
    """Add this, or find it there already."""

    part: Route | Rule | Bound


@dataclass(frozen=True, slots=True)
class Drop:
    """Remove this, or find it gone already."""

    part: Route | Rule | Bound


Step = Put | Drop
