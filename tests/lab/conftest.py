"""A bench for the guard alone: a host, the world outside, and a cable that stands for a tunnel. No agent, no Envoy."""

import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from pointsman.dataplane.capture import compile_capture
from pointsman.dataplane.entries import plan
from pointsman.dataplane.guard import GuardSpec, Inbound, Outer, State, guard_text
from pointsman.lab import names, sniffer, spaces
from pointsman.lab.attacks import run
from pointsman.lab.attacks.bench import Bench as AttackBench
from pointsman.lab.attacks.case import Section
from pointsman.lab.wait import until
from pointsman.model.diagram import Leaf
from pointsman.model.entry import Mode
from pointsman.model.tunnel import Lane
from tests.lab.guard_flows import running

HERE = Path(__file__).parent
PROBES = HERE / "guard_probes.py"

# Outside: on 9998 nothing is ever read, on the other ports everything. On the host, as the proxy's user: every entry
# says which it is and where the connection was meant to go.
_OUTSIDE = """
import socket, sys, threading
def take(talk, read):
    try:
        while read and (data := talk.recv(65536)): talk.sendall(data[:1])
    except OSError: pass
kept = []
def serve(port, read):
    door = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        talk, _ = door.accept(); kept.append(talk)
        threading.Thread(target=take, args=(talk, read), daemon=True).start()
for port in (80, 9999, 9998, 7000): threading.Thread(target=serve, args=(port, port != 9998), daemon=True).start()
print("ready", flush=True); sys.stdin.read()
"""
_PROXY = """
import os, select, socket, struct, sys
os.setresuid(64001, 64001, 64001)
doors = [socket.create_server((host, int(port)), family=family)
         for port in sys.argv[1:] for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6))]
print("ready", flush=True)
while True:
    for door in select.select(doors, [], [])[0]:
        talk, _ = door.accept()
        if door.family == socket.AF_INET:
            meant = socket.inet_ntoa(talk.getsockopt(0, 80, 16)[4:8])
        else:
            meant = socket.inet_ntop(socket.AF_INET6, talk.getsockopt(41, 80, 28)[8:24])
        try: talk.sendall(f"{door.getsockname()[1]} {meant}".encode())
        except OSError: pass
        talk.close()
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What came over the cable from the host: frames with the canary, and frames by protocol."""

    canaries: int
    frames: dict[str, int]

    def traffic(self) -> dict[str, int]:
        """Return the frames that are not the kernel's own neighbour talk."""
        quiet = ("arp", "nd", "protocol-0")
        return {name: count for name, count in self.frames.items() if name not in quiet}


@dataclass(frozen=True, slots=True)
class Bench:
    """Two namespaces and a witness on the cable's far end."""

    host: str
    outside: str
    canary: str
    control: Path

    def on(self, space: str, *argv: str, given: str = "") -> str:
        """Run a command in a namespace to its end; return what it wrote."""
        done = subprocess.run(
            ["nsenter", f"--net=/run/netns/{space}", *argv],
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (argv, done.stdout, done.stderr)
        return done.stdout

    def python(self, code: str, *args: str, space: str = "") -> str:
        """Run a piece of Python on the host as root."""
        return self.on(space or self.host, sys.executable, "-c", code, *args)

    def probe(self, name: str, uid: int = 2001) -> str:
        """Try one way out, as this user, with the canary."""
        return self.on(self.host, sys.executable, str(PROBES), name, str(uid), self.canary)

    def guard(self, spec: GuardSpec) -> None:
        """Put this guard in place."""
        self.on(self.host, "nft", "-f", "-", given=guard_text(spec))

    def open(self) -> None:
        """Remove every rule: the positive control."""
        self.on(self.host, "nft", "flush", "ruleset")

    def counters(self) -> dict[str, int]:
        """Return the packets of all counters that are not zero."""
        items = json.loads(self.on(self.host, "nft", "-j", "list", "counters"))["nftables"]
        counters = (item["counter"] for item in items if "counter" in item)
        return {counter["name"]: counter["packets"] for counter in counters if counter["packets"]}

    def _counts(self) -> Seen:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.control))
            answer = json.loads(b"".join(iter(lambda: line.recv(65536), b"")))
        assert answer["dropped"] == 0
        frames: dict[str, int] = {}
        for flow in answer["flows"]:
            if flow["way"] == "sent":
                frames[flow["protocol"]] = frames.get(flow["protocol"], 0) + flow["frames"]
        return Seen(answer["canaries"]["sent"][self.canary.encode().hex()], frames)

    def watch(self) -> Callable[[], Seen]:
        """Start counting; the answer tells what came since."""
        before = self._counts()

        def since() -> Seen:
            now = self._counts()
            grown = {name: count - before.frames.get(name, 0) for name, count in now.frames.items()}
            return Seen(now.canaries - before.canaries, {name: count for name, count in grown.items() if count})

        return since


LANES = (
    Lane("gold", "a", 0x00200000, "pma", ("10.71.0.2", "fd71::2")),
    Lane("plain", "direct", 0x00300000, "eth0", ("192.0.2.10", "2001:db8:1::10")),
)
ENTRIES = plan([2001, 2002], [lane.cluster for lane in LANES], [Mode.HTTP, Mode.AUTO, Mode.TCP])
CAPTURE = compile_capture([(Mode.HTTP, ((80, 80),))], ENTRIES, (), lambda _: Leaf(0), lambda _: "")
OPEN = GuardSpec(
    64001,
    64002,
    State.OPEN,
    uplinks=("eth0",),
    framed=("eth0", "pma"),
    inbound=(Inbound("tcp", ((22, 22),)), Inbound("udp", ((500, 500),))),
    lanes=LANES,
    endpoints=(Outer("udp", "192.0.2.21", 51820), Outer("udp", "192.0.2.22", 51820, kernel=True)),
    capture=CAPTURE,
)


@pytest.fixture(scope="module")
def open_spec() -> GuardSpec:
    """The open form that the bench's tests start from: two lanes, HTTP captured on port 80."""
    return OPEN


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A bench that the tests of one file share."""
    if os.geteuid() != 0:
        pytest.fail("the bench is made of network namespaces and needs root")
    with ExitStack() as ends:
        host, outside = (ends.enter_context(spaces.space(role)) for role in ("host", "outside"))
        made = Bench(host, outside, secrets.token_hex(12), tmp_path_factory.mktemp("w") / "s")
        _wire(made)
        ends.enter_context(running(made.outside, "-c", _OUTSIDE))
        ends.enter_context(running(made.host, "-c", _PROXY, *(str(entry.port) for entry in ENTRIES)))
        watch = [str(sniffer.__file__), "far", str(made.control), made.canary.encode().hex()]
        ends.enter_context(running(made.outside, *watch, ready=False))
        until(made.control.exists, "the witness watches")
        yield made


def _wire(bench: Bench) -> None:
    host, outside = bench.host, bench.outside
    for mine, theirs in (("eth0", "far"), ("pma", "pmafar")):
        bench.on(host, "ip", "link", "add", mine, "type", "veth", "peer", "name", theirs, "netns", outside)
    addresses = {
        (host, "lo"): (),
        (outside, "lo"): ("198.51.100.9/32", "2001:db8:2::9/128"),
        (host, "eth0"): ("192.0.2.10/24", "2001:db8:1::10/64"),
        (outside, "far"): ("192.0.2.1/24", "192.0.2.21/24", "192.0.2.22/24", "2001:db8:1::1/64"),
        (host, "pma"): ("10.71.0.2/24", "fd71::2/64"),
        (outside, "pmafar"): ("10.71.0.1/24", "fd71::1/64"),
    }
    for (space, device), given in addresses.items():
        bench.on(space, "ip", "link", "set", device, "up")
        for address in given:
            nodad = ["nodad"] if ":" in address else []
            bench.on(space, "ip", "addr", "add", address, "dev", device, *nodad)
    bench.on(host, "ip", "route", "add", "default", "via", "192.0.2.1")
    bench.on(host, "ip", "-6", "route", "add", "default", "via", "2001:db8:1::1")
    # A tunnel device asks nobody for link addresses, so neither does the cable that stands for one.
    for space, device, peer, neighbours in (
        (host, "pma", "pmafar", ("10.71.0.1", "fd71::1")),
        (outside, "pmafar", "pma", ("10.71.0.2", "fd71::2")),
    ):
        there = json.loads(bench.on(outside if space == host else host, "ip", "-j", "link", "show", peer))
        for neighbour in neighbours:
            bench.on(space, "ip", "neigh", "replace", neighbour, "lladdr", there[0]["address"], "dev", device)


@pytest.fixture(scope="module")
def steered(worker_id: str) -> Iterator[Callable[[Section], AttackBench]]:
    """The bench of a section of the catalogue, in a lab of its own; the one before is down then."""
    name = os.environ.get("POINTSMAN_RUN") or f"r{os.getpid()}"
    standing: dict[str, AttackBench] = {}
    with ExitStack() as ends:

        def of(section: Section) -> AttackBench:
            if section.name not in standing:
                ends.pop_all().close()
                standing.clear()
                lab = names.lab(f"{name}-{worker_id}-{section.number.replace('.', '')}")
                standing[section.name] = ends.enter_context(run.steered(lab, section))
            return standing[section.name]

        yield of
