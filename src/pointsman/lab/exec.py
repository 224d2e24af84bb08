"""Run commands on the lab's hosts, and find and end what runs there.

A command sees its host's network, and of the file system its host's own /sys, /run/wireguard, /etc/hosts and
/etc/resolv.conf, and the boot id of a host that was rebooted, by a mount namespace of its own; everything else is the
machine's. `pointsman` there means the lab's agent.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from pointsman.lab.names import Lab
from pointsman.model.fault import Fault

# The fresh /sys shows the devices of the namespace; the control groups in it are the machine's, as on a real host.
_ENTER = """
home=$1 runtime=$2 programs=$3; shift 3
mount --rbind /sys/fs/cgroup "$home/cgroup"
mount -t sysfs sysfs /sys
mount --move "$home/cgroup" /sys/fs/cgroup
mkdir -p /run/wireguard
mount --bind "$home/wireguard" /run/wireguard
mount --bind "$home/hosts" /etc/hosts
[ ! -e "$home/boot_id" ] || mount --bind "$home/boot_id" /proc/sys/kernel/random/boot_id
[ ! -e /etc/resolv.conf ] || mount --bind "$home/resolv.conf" /etc/resolv.conf
export POINTSMAN_RUNTIME="$runtime" PATH="$programs:$PATH"
exec "$@"
"""


def command(lab: Lab, host: str, argv: Sequence[str], uid: int | None = None) -> list[str]:
    """Return the command line that runs `argv` on a host, as root or as the given user id."""
    as_user = [] if uid is None else ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--"]
    space = ["nsenter", f"--net={lab.path(host)}", "unshare", "--mount", "--propagation", "slave"]
    programs = Path(sys.executable).parent
    return [*space, "sh", "-ec", _ENTER, "lab", str(lab.home(host)), str(lab.runtime), str(programs), *as_user, *argv]


def run(
    lab: Lab, host: str, argv: Sequence[str], *, uid: int | None = None, given: str = "", timeout: float = 30
) -> subprocess.CompletedProcess[str]:
    """Run a command on a host to its end and return what it wrote, whatever its exit code."""
    return subprocess.run(
        command(lab, host, argv, uid), input=given, capture_output=True, text=True, timeout=timeout, check=False
    )


def demand(lab: Lab, host: str, argv: Sequence[str], *, given: str = "") -> str:
    """Run a command on a host and return its output; a failure is a `Fault`."""
    return demand_here(command(lab, host, argv), f"`{' '.join(argv)}` on {host}", given)


def demand_here(argv: Sequence[str], tried: str, given: str = "") -> str:
    """Run a command and return its output; a failure is a `Fault`."""
    done = subprocess.run(list(argv), input=given, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise Fault("lab-command", tried, (done.stderr or done.stdout).strip() or f"exit code {done.returncode}")
    return done.stdout


def told(runtime: Path, path: str, body: dict[str, object] | None = None) -> Any:
    """Return what an agent or a gateway answers on the control socket in its runtime folder; with a body, to a POST."""
    transport = httpx.HTTPTransport(uds=str(runtime / "control.sock"))
    try:
        with httpx.Client(transport=transport, base_url="http://pointsman", timeout=15) as line:
            answer = line.get(path) if body is None else line.post(path, json=body)
            return answer.raise_for_status().json()
    except httpx.HTTPError as error:
        raise Fault("lab-silent", f"ask for {path} in {runtime}", str(error)) from error


def start(
    lab: Lab, host: str, argv: Sequence[str], log: str, uid: int | None = None, directory: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a command on a host in a session of its own; its output goes to the log of this name."""
    with lab.log(host, log).open("ab") as output:
        return subprocess.Popen(
            command(lab, host, argv, uid),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=directory or lab.home(host),
        )


def processes(lab: Lab, host: str) -> Iterator[int]:
    """Yield the process ids that live in a host's network namespace."""
    return processes_in(lab.path(host))


def processes_in(path: Path) -> Iterator[int]:
    """Yield the process ids that live in the network namespace at this path."""
    try:
        space = path.stat()
    except FileNotFoundError:
        return
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            found = (entry / "ns/net").stat()
        except OSError:  # it ended meanwhile
            continue
        if (found.st_dev, found.st_ino) == (space.st_dev, space.st_ino):
            yield int(entry.name)


def end_processes(lab: Lab, host: str, within: float = 5) -> None:
    """End everything that runs on a host: a chance to leave in order, then by force."""
    end_processes_in(lab.path(host), within)


def end_processes_in(path: Path, within: float = 5) -> None:
    """End everything that runs in the network namespace at this path, in the same way."""
    limit = time.monotonic() + within
    kind = signal.SIGTERM
    while left := [pid for pid in processes_in(path) if pid != os.getpid()]:
        if time.monotonic() > limit:
            raise Fault("lab-processes", f"end the processes of {path.name}", f"{left} do not end")
        _end(left, kind, 1.0)
        kind = signal.SIGKILL


def _end(pids: list[int], kind: signal.Signals, within: float) -> None:
    """Signal processes and wait for their ends; by descriptors, so that a reused number hits nobody."""
    with ExitStack() as opened:
        poll = select.poll()
        waiting = 0
        for pid in pids:
            try:
                fd = os.pidfd_open(pid)
                opened.callback(os.close, fd)
                signal.pidfd_send_signal(fd, kind)
            except ProcessLookupError:
                continue
            poll.register(fd, select.POLLIN)
            waiting += 1
        limit = time.monotonic() + within
        while waiting and (rest := limit - time.monotonic()) > 0:
            for fd, _ in poll.poll(rest * 1000):
                poll.unregister(fd)
                waiting -= 1
