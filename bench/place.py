"""Two network namespaces, one with wrk and the proxies, one with the origin; and how processes run in them."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pyroute2 import netns

from pointsman.system import processes

PROXY_UID = 64001
CLIENT_UID = 1000
HOST_ADDRESS = "192.0.2.10"
PORT = 80

_ORIGIN = """
global
  nbthread 1
  maxconn 4000
defaults
  mode http
  timeout client 60s
  timeout connect 5s
  timeout server 60s
  timeout http-keep-alive 60s
frontend origin
  bind {addresses}
  http-request return status 200 content-type text/plain string "ok"
"""


@dataclass
class Place:
    """The namespaces by name, a folder that the proxies' user can read, and what was started here."""

    host: str
    origin: str
    folder: Path
    started: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    adopted: list[processes.Process] = field(default_factory=list)

    def start(
        self, argv: Sequence[str], log: str, namespace: str = "", uid: int = PROXY_UID
    ) -> "subprocess.Popen[bytes]":
        """Start a process as the proxies' user. It ends with the place."""
        user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--"]
        with (self.folder / f"{log}.log").open("ab") as output:
            process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{namespace or self.host}", *user, *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def run(self, argv: Sequence[str], timeout: float, uid: int = CLIENT_UID, given: str | None = None) -> str:
        """Run a command on the host to its end, and return its output."""
        user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--"]
        argv = ["nsenter", f"--net=/run/netns/{self.host}", *user, *argv]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False, input=given)
        if done.returncode:
            raise RuntimeError(f"{' '.join(argv)}: {done.stderr or done.stdout}")
        return done.stdout

    def words(self, log: str) -> str:
        """Return the end of a log."""
        return (self.folder / f"{log}.log").read_text(errors="replace")[-1500:]


@contextmanager
def place(addresses: Sequence[str]) -> Iterator[Place]:
    """Have the namespaces, with an origin at these addresses, while the block runs."""
    name = f"bench{os.getpid()}"
    folder = Path(tempfile.mkdtemp(prefix="pointsman-bench-"))
    folder.chmod(0o755)
    made = Place(f"{name}-host", f"{name}-origin", folder)
    try:
        _connect(made, addresses)
        config = folder / "origin.cfg"
        config.write_text(_ORIGIN.format(addresses=",".join(f"{address}:{PORT}" for address in addresses)))
        made.start(["haproxy", "-f", str(config)], "origin", made.origin, uid=0)
        wait(lambda: answers(made, addresses[0]), "the origin answers", made, "origin")
        yield made
    finally:
        _end(made)
        shutil.rmtree(folder)


def answers(made: Place, address: str) -> bool:
    """Say whether a request to this address is answered with 200."""
    try:
        code = made.run(
            ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-m", "2", "-H", "host: origin.example",
             f"http://{address}/"],
            timeout=5,
        )  # fmt: skip
    except RuntimeError:
        return False
    return code == "200"


def wait(holds: Callable[[], bool], what: str, made: Place, log: str, within: float = 60) -> None:
    """Return once this holds."""
    until = time.monotonic() + within
    while not holds():
        if time.monotonic() > until:
            raise RuntimeError(f"not within {within:.0f} s: {what}: {made.words(log)}")
        time.sleep(0.1)


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Be in a namespace while the block runs."""
    netns.pushns(f"/run/netns/{namespace}")
    try:
        yield
    finally:
        netns.popns()


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> int:
    """Return the memory that a process has, in MB."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024 // 1_000_000


def _connect(made: Place, addresses: Sequence[str]) -> None:
    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, timeout=10)

    ip("netns", "add", made.host)
    ip("netns", "add", made.origin)
    ip("-n", made.host, "link", "set", "lo", "up")
    ip("-n", made.origin, "link", "set", "lo", "up")
    ip("-n", made.host, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", made.origin)
    ip("-n", made.host, "address", "add", f"{HOST_ADDRESS}/24", "dev", "eth0")
    for address in addresses:
        ip("-n", made.origin, "address", "add", f"{address}/24", "dev", "eth0")
    ip("-n", made.host, "link", "set", "eth0", "up")
    ip("-n", made.origin, "link", "set", "eth0", "up")


def _end(made: Place) -> None:
    for proxy in made.adopted:
        processes.end(proxy)
    for process in made.started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
    for process in made.started:
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)
    for name in (made.host, made.origin):
        subprocess.run(["ip", "netns", "delete", name], check=False, timeout=10, stderr=subprocess.DEVNULL)
