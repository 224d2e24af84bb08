"""What must outlive the agent: which numbers stand for what, who holds what, and what is still to be undone.

Marks, tables and ports are given out once and kept, so that a restarted agent and a changed policy
never let one number mean two things to a packet that is already on its way.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pointsman.model.entry import Entry, Mode
from pointsman.model.fault import Fault
from pointsman.model.problem import Invalid, Place, Problem
from pointsman.model.tunnel import Lane, Lease
from pointsman.system.clock import boot_id
from pointsman.system.files import replace_file

LANES = (2, 1022)  # index 1 marks the outer packets of kernel tunnels
TABLES = (7100, 7999)


@dataclass(frozen=True, slots=True)
class Memory:
    """Frozen; every change is a new value. `confirm_by` and `glass_until` are in seconds of the boot-time clock.

    `lanes` and `tables` give the number of each lane's cluster and of each tunnel, `stays` each profile's tunnel.
    `draining` says of each lane that was left when what is on it ends, in seconds of the clock that never jumps.
    """

    lanes: Mapping[str, int] = field(default_factory=dict)
    tables: Mapping[str, int] = field(default_factory=dict)
    entries: tuple[Entry, ...] = ()
    leases: tuple[Lease, ...] = ()
    stays: Mapping[str, str] = field(default_factory=dict)
    draining: Mapping[Lane, float] = field(default_factory=dict)
    observe: bool = False
    confirm_by: float | None = None
    glass_until: float | None = None
    glass_reason: str = ""


def numbered(known: Mapping[str, int], wanted: Iterable[str], span: tuple[int, int]) -> dict[str, int]:
    """Return numbers for all that is wanted; what is known keeps its number.

    Numbers rise, so that one just given up is not the next one given out; names no longer wanted are
    forgotten only when the span is used up. Raises `Invalid` when even that does not make room.
    """
    first, last = span
    names = tuple(dict.fromkeys(wanted))
    missing = [name for name in names if name not in known]
    following = max((*known.values(), first - 1)) + 1
    if following + len(missing) - 1 <= last:
        return {**known, **{name: following + place for place, name in enumerate(missing)}}
    numbers = {name: number for name, number in known.items() if name in names}
    free = sorted(
        {*range(first, last + 1)} - {*numbers.values()}, key=lambda number: (number in known.values(), number)
    )
    if len(free) < len(missing):
        what = f"{len(names)} tunnels, or profiles on tunnels, are wanted, and there is room for {last - first + 1}"
        hint = "let `leases` and `spares` be fewer, or let profiles of holders fit fewer tunnels"
        raise Invalid([Problem(Place(), "too-many-tunnels", what, hint)])
    return numbers | dict(zip(missing, free, strict=False))


def recall(path: Path) -> Memory:
    """Return what was kept since the host booted; an empty memory where there is nothing."""
    try:
        kept = json.loads(path.read_bytes())
        if kept["boot"] != boot_id():
            return Memory()
        return Memory(
            lanes=kept["lanes"],
            tables=kept["tables"],
            entries=tuple(Entry(e["port"], Mode(e["mode"]), e["uid"], e["lane"]) for e in kept["entries"]),
            leases=tuple(Lease(lease["tunnel"], lease["holder"]) for lease in kept["leases"]),
            stays=kept.get("stays", {}),
            draining=dict(_lane(**one) for one in kept.get("draining", ())),
            observe=kept["observe"],
            confirm_by=kept["confirm_by"],
            glass_until=kept["glass_until"],
            glass_reason=kept.get("glass_reason", ""),
        )
    except FileNotFoundError:
        return Memory()
    except (ValueError, KeyError, TypeError) as error:
        why = "it is damaged; take the host down with `pointsman down` and up again"
        raise Fault("state-damaged", f"read `{path}`", why) from error


def keep(path: Path, memory: Memory) -> None:
    """Write the memory so that it is whole, or the one before is."""
    kept = {
        "boot": boot_id(),
        "lanes": dict(memory.lanes),
        "tables": dict(memory.tables),
        "entries": [{"port": e.port, "mode": e.mode, "uid": e.uid, "lane": e.lane} for e in memory.entries],
        "leases": [{"tunnel": lease.tunnel, "holder": lease.profile} for lease in memory.leases],
        "stays": dict(memory.stays),
        "draining": [asdict(lane) | {"end": end} for lane, end in memory.draining.items()],
        "observe": memory.observe,
        "confirm_by": memory.confirm_by,
        "glass_until": memory.glass_until,
        "glass_reason": memory.glass_reason,
    }
    replace_file(path, json.dumps(kept, indent=1, sort_keys=True).encode())


def _lane(profile: str, tunnel: str, mark: int, device: str, sources: list[str], end: float) -> tuple[Lane, float]:
    return Lane(profile, tunnel, mark, device, tuple(sources)), end
