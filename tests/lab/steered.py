"""A lab whose instance is steered by a real agent: what the tests of this folder do with it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pointsman.lab import clients, instance, world
from pointsman.lab import exec as on
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.lab.watch import Witness

HERE = Path(__file__).parent
POLICY = HERE / "steering.yaml"
SHARED = ("198.51.100.83", "2001:db8:2::83")  # all names are served here
PATIENCE = 30.0
# Where clients of each kind are answered
PORTS = {"http1": 80, "http2": 80, "grpc": 50051, "call": 50051, "websocket": 80}

# Becomes the user, says something, and tells what came back until the other side is silent or gone.
_TALK = """
import encodings.idna, os, socket, sys
address, port, uid, wait = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
said = sys.stdin.buffer.read()
with socket.create_connection((address, port), 20) as line:
    line.sendall(said)
    line.settimeout(wait)
    try:
        while data := line.recv(65536): sys.stdout.buffer.write(data)
    except (TimeoutError, ConnectionResetError): pass
"""


@dataclass(slots=True)
class Steered:
    """A lab and the agent process on its instance."""

    lab: Lab
    agent: subprocess.Popen[bytes]

    def run(self, *argv: str, uid: int | None = None, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command on the instance to its end."""
        return on.run(self.lab, world.INSTANCE, argv, uid=uid, given=given, timeout=90)

    def tell(self, *words: str) -> str:
        """Run `pointsman` on the instance; it must succeed."""
        done = self.run("pointsman", *words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def json(self, *words: str) -> Any:
        """Run `pointsman … --json` and return what it printed."""
        return json.loads(self.tell(*words, "--json"))

    def status(self) -> Any:
        """Return the agent's status, without the time that a command takes to start."""
        return instance.agent_status(self.lab)

    def talk(self, address: str, port: int, said: bytes, uid: int = 1000, wait: float = 1.5) -> bytes:
        """Say something over plain TCP and return what came back; a refused connection is an `OSError`'s text."""
        argv = [sys.executable, "-c", _TALK, address, str(port), str(uid), str(wait)]
        done = subprocess.run(
            on.command(self.lab, world.INSTANCE, argv), input=said, capture_output=True, timeout=60, check=False
        )
        return done.stdout or done.stderr.strip().rpartition(b"\n")[2]

    def token(self, **claims: object) -> tuple[str, str]:
        """Return the header with an identity token."""
        return ("x-identity-token", clients.token(self.lab, **claims))

    def restart(self, *options: str) -> None:
        """Start an agent where there is none any more."""
        self.agent = instance.start_agent(self.lab, *options)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End the agent and wait for its end."""
        os.killpg(self.agent.pid, number)
        self.agent.wait(20)

    def daemons(self) -> dict[str, set[int]]:
        """Return the processes on the instance by the name of their program."""
        found: dict[str, set[int]] = {}
        for pid in on.processes(self.lab, world.INSTANCE):
            try:
                found.setdefault(Path(f"/proc/{pid}/comm").read_text().strip(), set()).add(pid)
            except OSError:  # it ended meanwhile
                continue
        return found

    def until_up(self, *tunnels: str) -> None:
        """Wait until these tunnels are up (all, if none is named)."""

        def up() -> bool:
            states = {tunnel["name"]: tunnel["state"] for tunnel in self.status()["tunnels"]}
            return all(states[name] == "up" for name in tunnels or states)

        until(up, "the tunnels are up", self.lab.log(world.INSTANCE, "agent"), within=PATIENCE)


@contextmanager
def steering(lab: Lab, policy: Path | str = POLICY, *options: str, **node: object) -> Iterator[Steered]:
    """Have an agent on the instance. `policy` is a file or a text; `node` are fields of the node file."""
    if isinstance(policy, str):
        (lab.node / "policy.yaml").write_text(policy)
        file = instance.write_node(lab, None)
    else:
        file = instance.write_node(lab, policy)
    if node:
        change_node(file, node)
    made = Steered(lab, instance.start_agent(lab, *options))
    try:
        yield made
    finally:
        if made.agent.poll() is None:
            made.kill()


def change_node(file: Path, fields: Mapping[str, object]) -> None:
    """Change fields of a node file."""
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | dict(fields), sort_keys=False))


def policy_text(base: Path = POLICY, **parts: object) -> str:
    """Return a policy with some of its top-level parts replaced."""
    return str(yaml.safe_dump(yaml.safe_load(base.read_text()) | parts, sort_keys=False))


def status_of(host: Steered, name: str, *headers: tuple[str, str]) -> int:
    """Ask once on a new connection and return the status; 0 where the connection was refused."""
    with clients.connected(host.lab, SHARED[0], 80) as client:
        return client.ask("/", host=name, headers=list(headers)).status


def in_clear(lab: Lab, kind: str, canary: bytes, where: str = "header", path: str = "") -> None:
    """Have a client of this kind send this once, in the `header` or the `body`, by a profile without encryption."""
    said = canary.decode()
    headers, body = ([("x-canary", said)], "") if where == "header" else ([], said)
    path = path or ("/shop.Store/GetItem" if PORTS[kind] == 50051 else "/upload")
    with clients.connected(lab, SHARED[0], PORTS[kind], kind) as client:
        if kind == "websocket":  # its first request opens it, its next ones are texts
            client.ask("/ws", host="public.example", headers=headers)
        answer = client.ask(path, host="public.example", method="POST", headers=headers, body=body)
    assert (answer.status, answer.error) in ((200, ""), (101, ""), (0, ""))


def seen_in_clear(host: Steered, witness: Witness, *kinds: str, path: str = "") -> int:
    """Return how many frames the witness sees where each kind of client may send one in the clear."""
    before = witness.controls()
    for kind in kinds:
        in_clear(host.lab, kind, witness.own, path=path)
    return witness.controls() - before


def routes(host: Steered) -> str:
    """Return the routes of all tables, without the time that some have left."""
    lines = [host.run("ip", family, "route", "show", "table", "all").stdout for family in ("-4", "-6")]
    return "".join(line.partition(" expires")[0] + "\n" for line in "".join(lines).splitlines())
