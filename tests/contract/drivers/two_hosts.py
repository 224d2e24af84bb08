"""Two hosts on one wire, tunnels from one to the other, and what is seen of them. Every verb is an agent of its own."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pointsman.lab import wait

AGENT = Path(__file__).parents[1] / "driver_agent.py"
INNER = {"near": ("10.71.0.2", "fd71::2"), "far": ("10.71.0.1", "fd71::1")}
OUTER = {"near": ("192.0.2.10", "2001:db8:1::10"), "far": ("192.0.2.21", "2001:db8:1::21")}


@dataclass(frozen=True)
class World:
    """Two hosts, `near` and `far`, on one wire."""

    folder: Path
    spaces: dict[str, str]

    def host(self, side: str) -> str:
        return self.spaces[side]

    def run(self, side: str, *command: str, check: bool = True) -> str:
        full = ["ip", "netns", "exec", self.host(side), *command]
        done = subprocess.run(full, capture_output=True, text=True, timeout=60, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def drive(self, side: str, name: str, kind: str, source: str, verb: str) -> dict[str, object]:
        answer = self.run(side, sys.executable, str(AGENT), str(self.folder / side), name, kind, source, verb)
        seen: dict[str, object] = json.loads(answer)
        return seen

    def pid(self, side: str, name: str) -> int:
        return int((self.folder / side / "tunnels" / name / "pid").read_text().split()[0])


@dataclass(frozen=True)
class Secrets:
    """A pool file and the strings in it that must not be seen anywhere."""

    file: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Tunnel:
    """A tunnel from `near` that is up, and how to bring its gateway's daemon down."""

    world: World
    kind: str
    near: Secrets
    first: dict[str, object]

    def drive(self, verb: str) -> dict[str, object]:
        return self.world.drive("near", "t", self.kind, self.near.file, verb)

    @property
    def device(self) -> str:
        return str(self.first["device"])

    def carries(self, family: int) -> bool:
        """Say whether a connection goes through and back, between the two inner addresses of this family."""
        far = INNER["far"][family]
        source = next(
            address
            for address in self.drive("tend")["sources"]  # type: ignore[attr-defined]
            if (":" in address) == bool(family)
        )
        self.world.run("near", "ip", "route", "replace", far, "dev", self.device)
        serve = ["ip", "netns", "exec", self.world.host("far"), sys.executable, "-c", SERVE, far]
        with subprocess.Popen(serve) as server:
            moved = self.world.run("near", sys.executable, "-c", CALL, source, far, check=False)
            server.kill()
        return moved.split()[1:] == ["1000"]


SERVE = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
listener = socket.socket(family)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((sys.argv[1], 7000))
listener.listen()
channel, _ = listener.accept()
moved = 0
while part := channel.recv(65536):
    moved += len(part)
channel.sendall(str(moved).encode())
"""
CALL = """
import socket, sys, time
source, far, size = sys.argv[1], sys.argv[2], int((sys.argv[3:] or ["1000"])[0])
end = time.monotonic() + 10
while True:
    try:
        channel = socket.create_connection((far, 7000), 5, (source, 0))
        break
    except OSError:
        if time.monotonic() > end:
            raise
        time.sleep(0.05)
channel.settimeout(20)
channel.sendall(b"x" * size)
channel.shutdown(socket.SHUT_WR)
print(channel.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG), channel.recv(20).decode())
"""


Bring = Callable[[str, int], Tunnel]


def daemons(tunnel: Tunnel) -> list[int]:
    pids = subprocess.run(
        ["ip", "netns", "pids", tunnel.world.host("near")], capture_output=True, text=True, check=True
    )
    return [int(pid) for pid in pids.stdout.split() if Path(f"/proc/{pid}").stat().st_uid == 64002]


def until(ask: Callable[[], object], wanted: str) -> dict[str, object]:
    """Return the first answer that holds what is wanted."""
    seen: list[object] = []

    def came() -> bool:
        seen.append(ask())
        return wanted in str(seen[-1])

    wait.until(came, f"`{wanted}` comes", within=20)
    return seen[-1] if isinstance(seen[-1], dict) else {"seen": seen[-1]}
