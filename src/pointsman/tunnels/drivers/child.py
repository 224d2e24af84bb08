"""One daemon of a tunnel as a detached child: started once, found again by any later agent, ended surely.

In the tunnel's folder (0700, root's): `pid` (number and start time), `spec` (content hash), `lock` (held by
the daemon as long as it lives), `log`, and `work`, the daemon's own folder, which it enters before it gives
up root. The child keeps no capability but those named, cannot gain any, and gets no environment but ours.
"""

import os
import shutil
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from pointsman.model.fault import Fault
from pointsman.system import processes
from pointsman.system.processes import Process
from pointsman.tunnels.drivers import launch as launcher
from pointsman.tunnels.port import Berth

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FOUND_WITHIN = 5.0
_LONGEST_LOG = 1_000_000


@dataclass(frozen=True, slots=True)
class Child:
    """A daemon that lives, and the hash of its spec."""

    process: Process
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
    noted = Process(pid, started)
    process = noted if pid and processes.alive(noted) else processes.holder(berth.folder / "lock", berth.uid)
    return Child(process, noted_digest(berth)) if process else None


def launch(berth: Berth, digest: str, command: Command) -> Child:
    """Start the daemon and return it; if one lives here already, return that one."""
    prepare(berth)
    lock = os.open(berth.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            lives = processes.take(lock, lambda: find(berth))
        except TimeoutError as error:
            raise Fault("tunnel-daemon", f"start the daemon of tunnel `{berth.name}`", str(error)) from error
        if lives is not None:
            return lives
        (berth.folder / "pid").unlink(missing_ok=True)
        note_digest(berth, digest)
        return _awaited(berth, _spawn(berth, command, lock))
    finally:
        os.close(lock)


def end(berth: Berth) -> None:
    """End the daemon: politely, then surely. Returns when it is gone."""
    child = find(berth)
    if child is not None and not processes.end(child.process):
        raise Fault("tunnel-daemon", f"end process {child.process.pid} of tunnel `{berth.name}`", "it does not end")
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


def _awaited(berth: Berth, process: subprocess.Popen[bytes]) -> Child:
    """Wait, bounded, for the pid file that the child writes itself."""
    deadline = time.monotonic() + _FOUND_WITHIN
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        child = find(berth)
        if child is not None:
            process.returncode = 0  # it outlives us on purpose, and Popen need not warn of that
            return child
        if ended:
            break
        time.sleep(0.005)
    why = last_words(berth) or "it ended at once"
    raise Fault("tunnel-daemon", f"start the daemon of tunnel `{berth.name}`", why)
