"""The edge to raw ICMP sockets, against a real kernel: a probe leaves from its tunnel's own address or not at all."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pointsman.lab import spaces

# A host with another address asks through `pma` while that has its address, while it has not, and when it is back.
_ASK = """
import os, select, subprocess
from pointsman.model.fault import Fault
from pointsman.system.probe import NONCE, Line
PATH = ("pma", "10.71.0.1", "10.71.0.2")
def ip(*words): subprocess.run(["ip", *words], check=True)
def asked(line):
    nonce = os.urandom(NONCE)
    if not line.ask(nonce): return "not sent"
    return "answered" if select.select([line], [], [], 5)[0] and line.answers() == [nonce] else "silence"
def fresh():
    try: return asked(Line(*PATH))
    except Fault: return "no line"
line = Line(*PATH)
said = [asked(line)]
ip("addr", "flush", "dev", "pma")
ip("route", "replace", "10.71.0.1", "dev", "pma")
said += [asked(line), fresh()]
ip("addr", "add", "10.71.0.2/24", "dev", "pma")
print(*said, fresh(), sep=", ")
"""


@pytest.fixture
def near() -> Iterator[str]:
    if os.geteuid() != 0:
        pytest.fail("network namespaces need root")
    with spaces.space("probe-near") as near, spaces.space("probe-far") as far:
        run(near, "ip", "link", "add", "pma", "type", "veth", "peer", "name", "pma", "netns", far)
        run(near, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other")
        for space, device, address in (
            (near, "pma", "10.71.0.2"),
            (near, "eth0", "192.0.2.10"),
            (far, "pma", "10.71.0.1"),
        ):
            run(space, "ip", "addr", "add", f"{address}/24", "dev", device)
            run(space, "ip", "link", "set", device, "up")
        yield near


def test_a_probe_leaves_from_the_address_of_its_tunnel_or_not_at_all(near: str) -> None:
    said = run(near, sys.executable, "-c", _ASK)

    assert said == "answered, not sent, no line, answered\n"


def run(space: str, *argv: str) -> str:
    return subprocess.run(
        ["nsenter", f"--net=/run/netns/{space}", *argv], check=True, capture_output=True, text=True
    ).stdout
