"""The decision records that Envoy writes: followed, counted, checked against the decision, rotated and bounded."""

import json
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pointsman.model.tunnel import Lane
from pointsman.node.proof import Finding, Reason

Record = Mapping[str, Any]

LARGEST = 32 * 1024 * 1024
KEPT = 4


# Of Envoy's response flags, those that a way out may be to blame for
TROUBLES = {"UF": "connect", "UC": "reset"}

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Decided:
    """What requests are held against.

    `sources` gives, by lane, the addresses that a request through it may have left from; `shared` are those that do not
    tell by which device. `carried` gives, by both ends of a socket, the lanes whose it was by mark, device and source;
    empty where it was no lane's.
    """

    sources: Mapping[str, frozenset[str]]
    carried: Mapping[Pair, frozenset[str]]
    shared: frozenset[str] = frozenset()


def decided(lanes: Iterable[Lane], carried: Mapping[Pair, frozenset[str]]) -> Decided:
    """Return what requests by these lanes are held against."""
    sources: dict[str, frozenset[str]] = {}
    devices: dict[str, set[str]] = {}
    for lane in lanes:
        sources[lane.cluster] = sources.get(lane.cluster, frozenset()) | frozenset(lane.sources)
        for source in lane.sources:
            devices.setdefault(source, set()).add(lane.device)
    return Decided(sources, carried, frozenset(source for source, by in devices.items() if len(by) > 1))


@dataclass(slots=True)
class Tally:
    """Counts since the agent started.

    Of the requests that left, `proven` had a socket that the kernel showed with everything of the lane, `by_source`
    only the lane's source address, which no other device has (the socket was gone before it was looked at), and of
    `unknown` ones nothing could be said; `refused` ones stayed. `misrouted` counts what went another way than decided,
    by reason: requests, sockets and traffic. `ended` counts what a change of policy has ended; `troubles`, by tunnel,
    requests that could not connect or were reset.
    """

    requests: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    troubles: Counter[tuple[str, str]] = field(default_factory=Counter)
    proven: Counter[str] = field(default_factory=Counter)
    by_source: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    misrouted: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    ended: int = 0
    unreadable: int = 0

    def add(self, record: Record, decided: Decided) -> Finding | None:
        """Count one record; return what was wrong with the way it left, None where it is right or did not leave."""
        lane = str(record.get("lane") or "")
        profile, _, tunnel = lane.partition("@")
        self.requests[(str(record.get("rule") or ""), profile, tunnel, str(record.get("code") or 0))] += 1
        for flag in str(record.get("flags") or "").split(","):
            if tunnel and flag in TROUBLES:
                self.troubles[tunnel, TROUBLES[flag]] += 1
        source, destination = str(record.get("source") or ""), str(record.get("destination") or "")
        if not source:
            self.refused += 1
            return None
        carried = decided.carried.get((source, destination))
        if carried is not None and lane in carried:
            self.proven[lane] += 1
        elif carried is not None:
            by = " or ".join(sorted(carried)) or "no lane"
            return Finding(Reason.LANE, lane, f"{source} to {destination}, which the kernel shows as {by}")
        elif lane not in decided.sources:
            self.unknown[lane] += 1
        elif host_of(source) not in decided.sources[lane]:
            return Finding(Reason.SOURCE, f"{lane}: source {' or '.join(sorted(decided.sources[lane]))}", source)
        elif host_of(source) in decided.shared:
            self.unknown[lane] += 1
        else:
            self.by_source[lane] += 1
        return None


class Follower:
    """Reads what is new in the file, also across a rotation."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._rest = b""

    def lines(self) -> Iterator[bytes]:
        """Yield whole lines that were not yielded before."""
        if self._file is None:
            self._file = self._open()
        if self._file is None:
            return
        yield from self._whole(self._file.read())
        if self._moved():
            yield from self._whole(self._file.read())
            self._file.close()
            self._file, self._rest = self._open(), b""
            if self._file is not None:
                yield from self._whole(self._file.read())

    def skip(self) -> None:
        """Start at the end of what is there now."""
        self._file = self._open()
        if self._file is not None:
            self._file.seek(0, 2)

    def _whole(self, read: bytes) -> Iterator[bytes]:
        *whole, self._rest = (self._rest + read).split(b"\n")
        return (line for line in whole if line)

    def _open(self) -> BinaryIO | None:
        # the folder is the proxy's own: neither a link nor a pipe in it may lead or hold up a reader that is root
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(self._path, flags)
        except OSError:
            return None
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return os.fdopen(descriptor, "rb")
        os.close(descriptor)
        return None

    def _moved(self) -> bool:
        if self._file is None:
            return False
        try:
            return self._path.stat().st_ino != os.fstat(self._file.fileno()).st_ino
        except FileNotFoundError:
            return False


def host_of(point: str) -> str:
    """Return the address of `address:port`, without the brackets of IPv6."""
    return point.rpartition(":")[0].strip("[]")


def parse(line: bytes) -> Record | None:
    """Return the record in a line, None where it is not one."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def rotate(path: Path, largest: int = LARGEST, kept: int = KEPT) -> bool:
    """Move a full file aside, the oldest out; return whether the writer must open it anew."""
    try:
        if path.stat().st_size < largest:
            return False
    except FileNotFoundError:
        return False
    for age in range(kept - 1, 0, -1):
        older = path.with_name(f"{path.name}.{age}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{age + 1}"))
    path.replace(path.with_name(f"{path.name}.1"))
    path.with_name(f"{path.name}.{kept}").unlink(missing_ok=True)
    return True
