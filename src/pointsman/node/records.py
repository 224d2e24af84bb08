"""The decision records that Envoy writes: followed, counted, checked against the decision, rotated and bounded."""

import json
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

Record = Mapping[str, Any]

LARGEST = 32 * 1024 * 1024
KEPT = 4


# Of Envoy's response flags, those that a way out may be to blame for
TROUBLES = {"UF": "connect", "UC": "reset"}


@dataclass(slots=True)
class Tally:
    """Counts since the agent started. `misrouted` counts requests that left from another address than decided.

    `troubles` counts, by tunnel, requests that could not connect or were reset.
    """

    requests: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    troubles: Counter[tuple[str, str]] = field(default_factory=Counter)
    unreadable: int = 0
    misrouted: int = 0

    def add(self, record: Record, sources: Mapping[str, frozenset[str]]) -> bool:
        """Count one record; return whether it left the way that was decided (or not at all).

        `sources` gives, by lane, the addresses that a request through it may have left from.
        """
        lane = str(record.get("lane") or "")
        profile, _, tunnel = lane.partition("@")
        self.requests[(str(record.get("rule") or ""), profile, tunnel, str(record.get("code") or 0))] += 1
        for flag in str(record.get("flags") or "").split(","):
            if tunnel and flag in TROUBLES:
                self.troubles[tunnel, TROUBLES[flag]] += 1
        left_from = host_of(str(record.get("source") or ""))
        right = not left_from or lane not in sources or left_from in sources[lane]
        self.misrouted += not right
        return right


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
    except ValueError:
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
