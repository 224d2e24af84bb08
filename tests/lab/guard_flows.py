"""Connections to try under a guard, as the proxy and as others, and a capture of them by a small policy."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pointsman.dataplane.capture import compile_capture
from pointsman.dataplane.entries import plan
from pointsman.model.diagram import Branch, Leaf, Node, Switch
from pointsman.model.entry import Mode
from pointsman.model.formula import Atom, Within
from pointsman.model.policy import Destination

GOLD, PLAIN, DENY = Leaf(0), Leaf(1), Leaf(2)
LANE = {0: "gold@a", 1: "plain@direct", 2: ""}
ENTRIES = plan([2001], ["gold@a", "plain@direct"], [Mode.HTTP, Mode.AUTO, Mode.TCP])
TREE: Node = Switch(
    "process.uid",
    {2001: GOLD, 2002: Switch("destination.port", {7000: PLAIN}, DENY, DENY)},
    Branch(Atom("destination.address", Within("198.51.100.0/28")), PLAIN, DENY, DENY),
    DENY,
)
CAPTURE = compile_capture(
    [(Mode.HTTP, ((80, 80),)), (Mode.AUTO, ((7000, 7000),)), (Mode.TCP, ((7001, 7001),))],
    ENTRIES,
    [Destination("origin", addresses=("198.51.100.0/24", "2001:db8:2::/64"))],
    lambda names: TREE if names else DENY,
    lambda leaf: LANE[leaf.rule],
)

# Runs as the proxy does: user, mark, device and source; sends the canary and hangs up, or stays away without a close.
_UPSTREAM = """
import os, socket, sys, time
uid, mark, device, source, target, port, canary, end = sys.argv[1:]
talk = socket.socket(socket.AF_INET6 if ":" in target else socket.AF_INET)
if uid != "0":
    os.setresgid(int(uid), int(uid), int(uid)); os.setresuid(-1, int(uid), 0)
    talk.close(); talk = socket.socket(socket.AF_INET6 if ":" in target else socket.AF_INET)
    os.seteuid(0)
talk.setsockopt(1, 36, int(mark, 16)); talk.setsockopt(1, 25, device.encode()); talk.settimeout(2)
if source: talk.bind((source, 0))
try:
    talk.connect((target, int(port)))
    if end == "flood":
        talk.setblocking(False)
        try:
            while True: talk.send(canary.encode() * 1000)
        except BlockingIOError: os._exit(0)
    talk.sendall(canary.encode()); print("sent", talk.recv(10).decode())
except OSError as error: print("refused", error)
"""
ASK = """
import os, socket, sys
uid, address, port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
os.setresuid(uid, uid, uid)
with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as talk:
    talk.settimeout(2)
    try: talk.connect((address, port)); print(talk.recv(100).decode(), end="")
    except OSError as error: print(type(error).__name__, end="")
"""


@contextmanager
def running(space: str, *argv: str, ready: bool = True) -> Iterator[subprocess.Popen[str]]:
    """Run a Python process in a namespace; it says a line when it is ready."""
    child = subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{space}", sys.executable, *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if ready and child.stdout:
            assert child.stdout.readline() == "ready\n"
        yield child
    finally:
        child.kill()
        child.wait()


def upstream(bench, uid: int, mark: int, device: str, source: str, target: str, port: int = 9999, end: str = "") -> str:
    return bench.python(_UPSTREAM, str(uid), hex(mark), device, source, target, str(port), bench.canary, end).strip()
