"""Where attacks are made: a lab with its agent, a witness on the wire, and processes on the instance that talk."""

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from pointsman.lab import exec as on
from pointsman.lab import instance, life, watch, world
from pointsman.lab.attacks import outcome, senders, wire
from pointsman.lab.attacks.case import POLICY, Section
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.lab.watch import Witness
from pointsman.model.fault import Fault

SETTLE = 0.05
PROGRAMS = {
    "agent": ("-m", "pointsman", "up"),
    "envoy": ("envoy", "--concurrency"),
    "wireguard": ("wireguard-go", "-f"),
    "openvpn": ("openvpn", "--config"),
}


@dataclass(frozen=True, slots=True)
class Talked:
    """What came back on one connection, and how it ended."""

    received: bytes
    ended: str


class Bench:
    """One lab under attack. What reached the origin is counted from mark to mark."""

    def __init__(self, lab: Lab, witness: Witness, ends: ExitStack) -> None:
        """Take a standing lab and the witness on its wire; `ends` is closed with the bench.

        `untouched` is how its network was before an agent.
        """
        self.lab = lab
        self.witness = witness
        self._ends = ends
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._mark = 0
        self.untouched: Mapping[str, tuple[str, ...]] = {}

    def talk(
        self, uid: int, to: str, port: int, protocol: str, segments: Sequence[bytes], answers: int, within: float = 8
    ) -> Talked:
        """Have one conversation as this user and return what came."""
        asked = {
            "to": to,
            "port": port,
            "protocol": protocol,
            "segments": [segment.hex() for segment in segments],
            "answers": answers,
            "within": within,
        }
        talker = self._running(f"talker-{uid}", [sys.executable, "-m", "pointsman.lab.attacks.talker", str(uid)])
        line = self._exchange(talker, f"talker-{uid}", json.dumps(asked))
        found = json.loads(line)
        return Talked(bytes.fromhex(found["received"]), found["ended"])

    def reached(self) -> list[dict[str, Any]]:
        """Return what reached the origin since the last look."""
        text = self.lab.requests.read_bytes()
        whole = text.rfind(b"\n") + 1
        fresh, self._mark = text[self._mark : whole], whole
        return [json.loads(line) for line in fresh.splitlines()]

    def settle(self) -> None:
        """Let what is under way to the origin arrive."""
        time.sleep(SETTLE)

    def send(self, name: str, uid: int) -> str:
        """Try one way out with the canary; return what the sender says of it."""
        sender = self._running("sender", [sys.executable, "-I", senders.__file__])
        answer = self._exchange(sender, "sender", f"{name} {uid} {self.witness.canary.decode()}")
        while (line := self._exchange(sender, "sender")) != "\n":
            answer = line
        return answer.strip()

    def start_agent(self, *options: str) -> None:
        """Start the agent and return once its tunnels are up."""
        instance.start_agent(self.lab, *options)

    def pointsman(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run our command on the instance."""
        return on.run(self.lab, world.INSTANCE, ["pointsman", *words], timeout=60)

    def apply(self, policy: Path) -> int:
        """Put a policy in force, by the agent's socket; return 1."""
        answer = self.post(
            "/v1/policy", {"text": policy.read_text(), "name": policy.name, "folder": str(self.lab.node)}
        )
        if answer.is_error:
            raise Fault("lab-apply", f"apply `{policy.name}`", answer.text)
        return 1

    def post(self, path: str, body: object) -> httpx.Response:
        """Ask the agent for something, without the time that a command takes to start."""
        with self.line() as line:
            return line.post(path, json=body)

    def line(self) -> httpx.Client:
        """Return a connection to the agent's socket."""
        way = httpx.HTTPTransport(uds=str(self.lab.runtime / "control.sock"))
        return httpx.Client(transport=way, base_url="http://pointsman", timeout=60)

    def leases(self) -> dict[str, str]:
        """Return the tunnels that somebody holds, by holder."""
        with self.line() as line:
            return {one["holder"]: one["tunnel"] for one in line.get("/v1/leases").json()["leases"]}

    def status(self) -> dict[str, Any]:
        """Return what the agent says of itself."""
        found: dict[str, Any] = instance.agent_status(self.lab)
        return found

    def on(self, *argv: str, host: str = world.INSTANCE) -> str:
        """Run a command on a host as root and return its output."""
        return on.demand(self.lab, host, argv)

    def pids(self, program: str) -> list[int]:
        """Return the processes of this program on the instance."""
        found = []
        for pid in on.processes(self.lab, world.INSTANCE):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            except OSError:  # it ended meanwhile
                continue
            if all(any(word == part or word.endswith(f"/{part}") for word in words) for part in PROGRAMS[program]):
                found.append(pid)
        return found

    def device(self, tunnel: str) -> str:
        """Return the device of a tunnel."""
        return str(next(one["device"] for one in self.status()["tunnels"] if one["name"] == tunnel))

    def until_routed(self, within: float = 20) -> float:
        """Wait until requests of the API go out by their tunnel again; return how long that took."""
        begun = time.monotonic()
        until(lambda: self.ask() == "wg-a", "requests leave by wg-a", within=within)
        return time.monotonic() - begun

    def ask(
        self,
        uid: int = 2001,
        host: str = "api.pay.test",
        to: str = "198.51.100.81",
        headers: str = "",
        path: str = "/v1/x",
    ) -> str:
        """Make one request; return the tunnel it took, or the status, or how the connection ended."""
        own = f"{path}?{secrets.token_hex(6)}"
        self.reached()
        request = f"GET {own} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n".encode()
        talked = self.talk(uid, to, 80, "http1", [request], 1)
        found = wire.http1(talked.received, talked.ended != "open")
        reached = [entry for entry in self.reached() if entry["path"] == own]
        said = outcome.observed(found, talked.ended, 1, reached)
        return said[6:-1] if said in {f"ROUTE({name})" for name in outcome.TUNNELS} else said

    def _running(self, name: str, argv: Sequence[str]) -> subprocess.Popen[str]:
        """Return the process of this name on the instance, started when it is first needed."""
        if name not in self._processes:
            errors = self._ends.enter_context(self.lab.log(world.INSTANCE, name).open("ab"))
            process = subprocess.Popen(
                on.command(self.lab, world.INSTANCE, argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            self._ends.callback(process.communicate)
            self._ends.callback(process.kill)
            self._processes[name] = process
        return self._processes[name]

    def _exchange(self, process: subprocess.Popen[str], name: str, asked: str = "") -> str:
        """Send one line, if any, and return the next one that comes."""
        if process.stdin is None or process.stdout is None:
            raise ValueError("the process has no pipes")
        if asked:
            process.stdin.write(asked + "\n")
            process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            log = self.lab.log(world.INSTANCE, name).read_text()[-800:]
            raise Fault("lab-process", f"ask `{name}`", f"it ended; {log.strip()}")
        return line


@contextmanager
def bench(lab: Lab, section: Section) -> Iterator[Bench]:
    """Have a lab with the attacked policy and a witness that was seen to see; no agent runs yet."""
    with ExitStack() as ends:
        ends.callback(life.down, lab)
        life.up(lab, POLICY)
        (lab.node / "policy.yaml").write_text(section.policy_text())
        (lab.node / "node.yaml").write_text(section.node_text((lab.node / "node.yaml").read_text()))
        witness = ends.enter_context(watch.witness(lab))
        if (seen := witness.control()) != watch.CONTROL_FRAMES:
            raise Fault("lab-witness", "see the control", f"{seen} of {watch.CONTROL_FRAMES} frames were seen")
        yield Bench(lab, witness, ends)
