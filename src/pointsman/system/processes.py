"""Processes that outlive whoever started them: told apart for sure, found by the lock that they hold, and ended.

A lock that a process was started with is held as long as it lives, so one that nobody could note is found by it.
"""

import errno
import fcntl
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Found = TypeVar("Found")
_TAKEN_WITHIN = 5.0
_TERM_WITHIN = 5.0
_KILL_WITHIN = 5.0


@dataclass(frozen=True, slots=True)
class Process:
    """A process, told from a later one of the same number by when it started (clock ticks after boot)."""

    pid: int
    started: int


def running(pid: int) -> Process | None:
    """Return the process of this number, None where none lives. One that ended is reaped if it was ours."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    words = text.rpartition(")")[2].split()
    if words[0] in "ZX":
        _reap(pid)
        return None
    return Process(pid, int(words[19]))


def alive(process: Process) -> bool:
    """Return whether this very process lives."""
    return running(process.pid) == process


def holder(lock: Path, uid: int) -> Process | None:
    """Return the process of this user that holds the lock, None where there is none."""
    try:
        probe = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        wanted = os.fstat(probe)
    finally:
        os.close(probe)
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if folder.stat().st_uid != uid:
                continue
            for handle in (folder / "fd").iterdir():
                found = handle.stat()
                if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                    return running(int(folder.name))
        except OSError:
            continue  # it ended while we looked
    return None


def take(lock: int, look: Callable[[], Found | None]) -> Found | None:
    """Take the lock, an open file; where another process has it, return what `look` finds of that one.

    One that starts may not be found yet, and one that ends has the lock for a moment yet: waits for either, and
    raises `TimeoutError` where neither comes within 5 s.
    """
    until = time.monotonic() + _TAKEN_WITHIN
    while time.monotonic() < until:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found = look()
            if found is not None:
                return found
            time.sleep(0.01)
        else:
            return None
    raise TimeoutError("another process holds the lock")


def end(process: Process) -> bool:
    """End exactly this process, politely first; return whether it is gone."""
    return _signal(process, signal.SIGTERM, _TERM_WITHIN) or _signal(process, signal.SIGKILL, _KILL_WITHIN)


def _signal(process: Process, number: signal.Signals, patience: float) -> bool:
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        if not alive(process):
            return True
        signal.pidfd_send_signal(handle, number)
        gone = bool(select.select([handle], [], [], patience)[0])
    except ProcessLookupError:
        return True
    finally:
        os.close(handle)
    _reap(process.pid)
    return gone


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except OSError as error:
        # what an earlier agent started is not our child
        if error.errno != errno.ECHILD:
            raise
