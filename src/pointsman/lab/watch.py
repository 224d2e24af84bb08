"""Ask the witness on the wire: what left the instance, and what must not have."""

import json
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pointsman.lab import exec as on
from pointsman.lab import sniffer, world
from pointsman.lab.build import port
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.model.fault import Fault

# Run on the instance as root: one datagram per family, and a raw frame that no inet hook sees.
_CONTROL = """
import socket, sys
canary, device = bytes.fromhex(sys.argv[1]), sys.argv[2]
for family, address in ((socket.AF_INET, sys.argv[3]), (socket.AF_INET6, sys.argv[4])):
    with socket.socket(family, socket.SOCK_DGRAM) as out:
        try: out.sendto(canary, (address, 9))
        except OSError: pass
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
    out.bind((device, 0))
    try: out.send(b"\\xff" * 6 + b"\\x02" * 6 + b"\\x88\\xb5" + canary)
    except OSError: pass
"""
CONTROL_FRAMES = 3
# At one bit each nobody says them by chance, and they fit a label of a name.
_LETTERS = 60


@dataclass(frozen=True, slots=True)
class Flow:
    """How many frames of one kind passed. `way` is `sent` (by the instance) or `received`."""

    way: str
    protocol: str
    source: str
    destination: str
    port: int
    frames: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What the witness has seen since it started. `canaries` counts frames by canary, in hex, per way."""

    frames: dict[str, int]
    canaries: dict[str, dict[str, int]]
    flows: tuple[Flow, ...]
    dropped: int

    def sent(self, protocol: str = "", destination: str = "", port: int = 0) -> int:
        """Return how many frames the instance sent of this protocol, to this address, to this port (empty: any)."""
        return sum(
            flow.frames
            for flow in self.flows
            if flow.way == "sent"
            and protocol in ("", flow.protocol)
            and destination in ("", flow.destination)
            and port in (0, flow.port)
        )


class Witness:
    """A running sniffer. Its canaries are random; put one into what must not be seen."""

    def __init__(self, lab: Lab, control: Path, canary: bytes, own: bytes) -> None:
        """Keep where it is asked; `own` is the canary of its positive controls."""
        self._lab = lab
        self._control = control
        self.canary = canary
        self.own = own

    @property
    def secret(self) -> tuple[str, str]:
        """Return the canary as a header: for every request that must not be seen."""
        return ("x-canary", self.canary.decode())

    def counts(self) -> Counts:
        """Return what was seen up to now. Frames that the witness missed make it worthless: a `Fault`."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(10)
            line.connect(str(self._control))
            found = json.loads(b"".join(iter(lambda: line.recv(65536), b"")))
        if found["dropped"]:
            raise Fault("lab-witness", "count frames on the wire", f"{found['dropped']} frames were missed")
        flows = tuple(Flow(**flow) for flow in found["flows"])
        return Counts(found["frames"], found["canaries"], flows, found["dropped"])

    def leaked(self) -> int:
        """Return how many frames with the canary left the instance in the clear."""
        return self.counts().canaries["sent"][self.canary.hex()]

    def control(self) -> int:
        """Send `CONTROL_FRAMES` frames that the witness should see where nothing holds them; return how many it saw.

        Call it before the guard stands, and expect all of them; behind the guard, expect none.
        """
        router = world.host(world.ROUTER).legs[0].addresses
        before = self.controls()
        argv = [sys.executable, "-I", "-c", _CONTROL, self.own.hex(), "eth0", *(a.split("/")[0] for a in router)]
        on.demand(self._lab, world.INSTANCE, argv)
        try:
            until(lambda: self.controls() - before >= CONTROL_FRAMES, "the control is seen", within=0.5)
        except Fault:
            pass  # not seeing it is an answer
        return self.controls() - before

    def controls(self) -> int:
        """Return how many frames with the canary of the controls left the instance in the clear."""
        return self.counts().canaries["sent"][self.own.hex()]


@contextmanager
def witness(lab: Lab) -> Iterator[Witness]:
    """Have a witness on the router's end of the instance's cable while the block runs."""
    canary, own = made_up(), made_up()
    control = lab.home(world.ROUTER) / f"witness-{secrets.token_hex(3)}.sock"
    argv = [sys.executable, "-I", sniffer.__file__, port(world.INSTANCE), str(control), canary.hex(), own.hex()]
    process = on.start(lab, world.ROUTER, argv, "witness")
    try:
        until(control.exists, "the witness listens", lab.log(world.ROUTER, "witness"))
        yield Witness(lab, control, canary, own)
    finally:
        process.terminate()
        process.wait(5)
        control.unlink(missing_ok=True)


def made_up() -> bytes:
    """Return a canary: random letters that stand in frames as they are, also where HTTP/2 codes the value of a header.

    HPACK (RFC 7541) has 8 bits for each of these two, so no code is shorter than they are, and senders leave it.
    """
    return bytes(secrets.choice(b"XZ") for _ in range(_LETTERS))
