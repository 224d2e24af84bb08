"""What was proven when: one line of JSON for each interval, kept in bounded files, and summed up for a range of time.

Nothing is right by default: a range is right only if every moment of it is covered and every line of it says so.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pointsman.model.fault import Fault
from pointsman.node.balance import Balance, Judgement
from pointsman.node.proof import Finding
from pointsman.node.records import Tally, rotate

LARGEST = 8 * 1024 * 1024
KEPT = 8
MOST = 20  # findings in one line; all are counted
BALANCE = ("packets", "guard", "sent", "judgement", "why")
LATE = 2.0  # seconds between two lines that are no gap
FRESH = 10.0  # seconds after the last line within which the next one is not due yet

Counts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Interval:
    """What was proven from `since` to `until` (seconds of the Unix clock).

    `lanes` counts, by lane, requests that left: `proven` by the kernel's socket, `by_source` by the source address
    alone, `unknown`; and `open` sockets at its end. `tunnels` holds the balance of each. `drops` counts packets by
    cause, `misrouted` findings by reason, of which `findings` tells some: reason, decided, observed. `unknown` says
    what could not be looked at. `ended` counts what a change of policy has ended.
    """

    since: float
    until: float
    policy: str
    lanes: Mapping[str, Counts] = field(default_factory=dict)
    tunnels: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    drops: Counts = field(default_factory=dict)
    misrouted: Counts = field(default_factory=dict)
    findings: tuple[Mapping[str, str], ...] = ()
    unknown: tuple[str, ...] = ()
    refused: int = 0
    running: int = 0
    ended: int = 0


def interval(
    since: float,
    until: float,
    policy: str,
    counted: tuple[Tally, Tally],
    standing: Counts,
    balances: Iterable[Balance],
    held: Counts,
    findings: Iterable[Finding],
    unknown: Iterable[str],
    running: int,
) -> Interval:
    """Return the line for an interval. `counted` is what was counted at its begin and at its end."""
    then, now = counted
    balances = tuple(balances)
    by_lane: dict[str, Counts] = {
        "proven": now.proven - then.proven,
        "by_source": now.by_source - then.by_source,
        "unknown": now.unknown - then.unknown,
        "open": standing,
    }
    lanes = sorted({lane for counts in by_lane.values() for lane in counts})
    unread = now.unreadable - then.unreadable
    return Interval(
        since=since,
        until=until,
        policy=policy,
        lanes={lane: {name: counts.get(lane, 0) for name, counts in by_lane.items()} for lane in lanes},
        tunnels={one.tunnel: {name: getattr(one, name) for name in BALANCE} for one in balances},
        drops=held,
        misrouted=dict(now.misrouted - then.misrouted),
        findings=tuple(asdict(one) for one in findings),
        unknown=(
            *unknown,
            *(f"{one.tunnel}: {one.why}" for one in balances if one.judgement is Judgement.UNKNOWN),
            *([f"{unread} records could not be read"] if unread else []),
        ),
        refused=now.refused - then.refused,
        running=running,
        ended=now.ended - then.ended,
    )


def keep(path: Path, interval: Interval) -> None:
    """Add a line; the file is open to root alone."""
    line = json.dumps(asdict(interval), separators=(",", ":")).encode() + b"\n"
    try:
        rotate(path, LARGEST, KEPT)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            file.write(line)
    except OSError as error:
        raise Fault("evidence", f"write `{path}`", str(error.strerror)) from error


def recall(path: Path, since: float) -> tuple[list[Interval], int]:
    """Return the intervals that end after `since`, oldest first, and how many lines could not be read."""
    aged = [path.with_name(f"{path.name}.{age}") for age in range(KEPT, 0, -1)]
    found, unreadable = [], 0
    for file in (*aged, path):
        try:
            lines = file.read_bytes().splitlines()
        except FileNotFoundError:
            continue
        for line in lines:
            try:
                told = json.loads(line)
                one = Interval(**{**told, **{name: tuple(told[name]) for name in ("findings", "unknown")}})
                if one.until > since:
                    found.append(one)
            except (ValueError, TypeError, KeyError):
                unreadable += 1
    return sorted(found, key=lambda one: one.since), unreadable


def sum_up(intervals: Iterable[Interval], since: float, until: float, unreadable: int = 0) -> dict[str, Any]:
    """Return the evidence for a range: `judgement` is `right`, `wrong` or `unknown`, the worst that any part of it is.

    It ends with the last line, where that is fresh.
    """
    every = [one for one in intervals if one.until > since and one.since < until]
    lanes: dict[str, Counter[str]] = {}
    tunnels: dict[str, dict[str, Any]] = {}
    drops: Counter[str] = Counter()
    misrouted: Counter[str] = Counter()
    unknown = [f"{unreadable} lines of evidence cannot be read"] if unreadable else []
    reached = since
    for one in every:
        if one.since > reached + LATE:
            unknown.append(f"nobody looked for {one.since - reached:.0f} s from {_at(reached)}")
        reached = max(reached, one.until)
        unknown += one.unknown
        drops.update(one.drops)
        misrouted.update(one.misrouted)
        for lane, counts in one.lanes.items():
            told = lanes.setdefault(lane, Counter())
            told.update({name: count for name, count in counts.items() if name != "open"})
            told["open"] = counts.get("open", 0)
        for name, balance in one.tunnels.items():
            _add(tunnels.setdefault(name, dict.fromkeys(("packets", "guard", "sent", "wrong", "unknown"), 0)), balance)
    if until > reached + FRESH:
        unknown.append(f"nobody looked for {until - reached:.0f} s from {_at(reached)}")
    unknown += [
        f"{counts['unknown']} requests through {lane or 'no lane'}: it is not known what carried them"
        for lane, counts in lanes.items()
        if counts["unknown"]
    ]
    return {
        "judgement": "wrong" if misrouted else "unknown" if unknown else "right",
        "since": since,
        "until": until if until > reached + FRESH else reached,
        "policies": list(dict.fromkeys(one.policy for one in every)),
        "lanes": {lane: dict(counts) for lane, counts in sorted(lanes.items())},
        "tunnels": tunnels,
        "drops": dict(sorted(drops.items())),
        "misrouted": dict(misrouted),
        "findings": [{"at": one.until, **finding} for one in every for finding in one.findings],
        "unknown": list(dict.fromkeys(unknown)),
        "refused": sum(one.refused for one in every),
        "ended": sum(one.ended for one in every),
        "running": every[-1].running if every else 0,
    }


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _add(total: dict[str, Any], balance: Mapping[str, Any]) -> None:
    for name in ("packets", "guard", "sent"):
        total[name] += balance[name]
    if balance["judgement"] != "right":
        total[balance["judgement"]] += 1
        total["why"] = balance["why"]
