"""One daemon of a tunnel as a detached child: started once, found again by any later agent, ended surely.

In the tunnel's folder (0700, root's): `pid` (number and start time), `spec` (content hash), `lock` (held by
the daemon as long as it lives), `log`, and `work`, the daemon's own folder, which it enters before it gives
up root. The child keeps no capability but those named, cannot gain any, and gets no environment but ours.
"""

import errno
import fcntl
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from pointsman.model.fault import Fault
from pointsman.tunnels.drivers import launch as launcher
from pointsman.tunnels.port import Berth

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FOUND_WITHIN = 5.0
_ENDS_WITHIN = 5.0
_LONGEST_LOG = 1_000_000


@dataclass(frozen=True, slots=True)
class Child:
    """A daemon that lives: its pid, when it started (clock ticks since boot), and the hash of its spec."""

    pid: int
    started: int
    digest: str


@dataclass(frozen=True, slots=True)
class Command:
    """What to run and with what: `run_folder` is what it sees as `/run`, `capabilities` are all it keeps.

    `tun` says that it opens `/dev/net/tun` itself: it then sees one of its own, whoever may open the host's.
    """

    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    capabilities: tuple[str, ...] = ()
    pass_fds: tuple[int, ...] = ()
    stdin: int = subprocess.DEVNULL
    run_folder: Path | None = None
    tun: bool = False


def find(berth: Berth) -> Child | None:
    """Return the daemon that lives in this berth, whoever started it."""
    try:
        pid, started = (int(word) for word in (berth.folder / "pid").read_text("ascii").split())
    except (FileNotFoundError, ValueError):
        pid, started = 0, 0
    if pid and _start_time(pid) == started:
        return Child(pid, started, noted_digest(berth))
    return _holder(berth)


def launch(berth: Berth, digest: str, command: Command) -> Child:
    """Start the daemon and return it; if one lives here already, return that one."""
    prepare(berth)
    lock = os.open(berth.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return _awaited(berth, "another one holds the lock of this tunnel")
        (berth.folder / "pid").unlink(missing_ok=True)
        note_digest(berth, digest)
        return _awaited(berth, "it ended at once", _spawn(berth, command, lock))
    finally:
        os.close(lock)


def end(berth: Berth) -> None:
    """End the daemon: politely, then surely. Returns when it is gone."""
    child = find(berth)
    if child is not None:
        for number, patience in ((signal.SIGTERM, _ENDS_WITHIN), (signal.SIGKILL, _ENDS_WITHIN)):
            if _signal(child, number, patience):
                break
        else:
            raise Fault("tunnel-daemon", f"end process {child.pid} of tunnel `{berth.name}`", "it does not end")
    (berth.folder / "pid").unlink(missing_ok=True)


def prepare(berth: Berth) -> Path:
    """Make the berth's folders, private, and return the one that the daemon may write to."""
    berth.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = berth.folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise Fault("tunnel-folder", f"use folder `{berth.folder}`", "it is not a folder of this user")
    berth.folder.chmod(0o700)
    work = berth.folder / "work"
    work.mkdir(exist_ok=True, mode=0o700)
    os.chown(work, berth.uid, berth.gid, follow_symlinks=False)
    return work


def clear(berth: Berth) -> None:
    """Remove the berth's folder and all in it."""
    shutil.rmtree(berth.folder, ignore_errors=True)


def note_digest(berth: Berth, digest: str) -> None:
    """Write down the content hash of the spec that this berth is started with."""
    prepare(berth)
    path = berth.folder / "spec"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(digest + "\n")


def noted_digest(berth: Berth) -> str:
    """Return the content hash of the spec that this berth was last started with."""
    try:
        return (berth.folder / "spec").read_text("ascii").strip()
    except FileNotFoundError:
        return ""


def last_words(berth: Berth) -> str:
    """Return the last line of the daemon's log, safe to show."""
    try:
        with open(berth.folder / "log", "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            lines = [line for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    except FileNotFoundError:
        return ""
    return "".join(letter for letter in lines[-1].strip() if letter.isprintable())[:200] if lines else ""


def bound_log(berth: Berth) -> None:
    """Empty the daemon's log where it has grown long; the daemon appends to it, so it goes on from the start."""
    path = berth.folder / "log"
    if path.exists() and path.stat().st_size > _LONGEST_LOG:
        os.truncate(path, 0)


def _spawn(berth: Berth, command: Command, lock: int) -> subprocess.Popen[bytes]:
    capabilities = ",".join(("-all", *(f"+{name}" for name in command.capabilities)))
    arguments = [
        *(sys.executable, "-I", "-S", launcher.__file__, str(berth.folder / "pid"), str(berth.folder / "work")),
        *(str(command.run_folder or "-"), str(berth.uid) if command.tun else "-"),
        *("setpriv", f"--reuid={berth.uid}", f"--regid={berth.gid}", "--clear-groups", "--no-new-privs"),
        *(f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}", f"--bounding-set={capabilities}"),
        *command.arguments,
    ]
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC | os.O_CLOEXEC
    log = os.open(berth.folder / "log", flags, 0o600)
    try:
        return subprocess.Popen(
            arguments,
            stdin=command.stdin,
            stdout=log,
            stderr=log,
            env={"PATH": _PATH, **dict(command.environment)},
            cwd="/",
            pass_fds=(*command.pass_fds, lock),
            start_new_session=True,
        )
    except OSError as error:
        raise Fault("tunnel-daemon", f"start the daemon of tunnel `{berth.name}`", str(error)) from error
    finally:
        os.close(log)


def _awaited(berth: Berth, otherwise: str, process: subprocess.Popen[bytes] | None = None) -> Child:
    """Wait, bounded, for the pid file that the child writes itself."""
    deadline = time.monotonic() + _FOUND_WITHIN
    while time.monotonic() < deadline:
        ended = process is not None and process.poll() is not None
        child = find(berth)
        if child is not None:
            if process is not None:
                process.returncode = 0  # it outlives us on purpose, and Popen need not warn of that
            return child
        if ended:
            break
        time.sleep(0.005)
    why = last_words(berth) or otherwise
    raise Fault("tunnel-daemon", f"start the daemon of tunnel `{berth.name}`", why)


def _holder(berth: Berth) -> Child | None:
    """Find the daemon by the lock that it holds, for when its pid file got lost."""
    path = berth.folder / "lock"
    try:
        probe = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        wanted = os.fstat(probe)
    finally:
        os.close(probe)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid != berth.uid:
                continue
            for handle in (process / "fd").iterdir():
                found = handle.stat()
                if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                    pid = int(process.name)
                    return Child(pid, _start_time(pid) or 0, noted_digest(berth))
        except OSError:
            continue  # it ended while we looked
    return None


def _signal(child: Child, number: signal.Signals, patience: float) -> bool:
    """Send a signal to exactly this process and say whether it is gone within `patience` seconds."""
    try:
        handle = os.pidfd_open(child.pid)
    except ProcessLookupError:
        return True
    try:
        if _start_time(child.pid) != child.started:
            return True
        signal.pidfd_send_signal(handle, number)
        gone = bool(select.select([handle], [], [], patience)[0])
    except ProcessLookupError:
        return True
    finally:
        os.close(handle)
    _reap_one(child.pid)
    return gone


def _start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None where it does not live."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    words = text.rpartition(")")[2].split()
    if words[0] in "ZX":
        _reap_one(pid)
        return None
    return int(words[19])


def _reap_one(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except OSError as error:
        # a daemon that an earlier agent started is not our child
        if error.errno != errno.ECHILD:
            raise
