"""Row 12 of docs/security.md: the agent's probes go through, and nothing else goes by that line."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pointsman.dataplane.guard import GuardSpec, State

PROBES = Path(__file__).parent / "guard_probes.py"

if TYPE_CHECKING:
    from tests.lab.conftest import Bench

# Asks as the agent does; says how many of three nonces came back.
_ASK = """
import os, select, sys
from pointsman.system.probe import NONCE, Line
line, found = Line(*sys.argv[1:3]), 0
for _ in range(3):
    nonce = os.urandom(NONCE)
    line.ask(nonce)
    found += bool(select.select([line], [], [], 0.5)[0]) and line.answers() == [nonce]
print(found)
"""
# Sends one ICMP packet as a user with CAP_NET_RAW alone, or as root.
_SEND = """
import socket, struct, sys
sys.path.insert(0, sys.argv[1])
from guard_probes import become
from pointsman.system.probe import checksum
uid, kind, size, number = map(int, sys.argv[2:6])
become(uid, netraw=True)
with socket.socket(socket.AF_INET, socket.SOCK_RAW, 1) as talk:
    talk.setsockopt(1, 25, sys.argv[6].encode())
    head, body = struct.Struct("!BBHHH"), b"x" * size
    summed = checksum(head.pack(kind, 0, 0, number, 1) + body)
    try: talk.sendto(head.pack(kind, 0, summed, number, 1) + body, (sys.argv[7], 0))
    except OSError: pass
"""
_TUNNEL = ("pma", "10.71.0.1")


@pytest.fixture(scope="module")
def probing(open_spec: GuardSpec) -> GuardSpec:
    return replace(open_spec, probes=(("10.71.0.1", "pma"), ("fd71::1", "pma")))


def came(bench: "Bench") -> int:
    """Return how many packets came out of the two cables outside."""
    links = json.loads(bench.on(bench.outside, "ip", "-j", "-s", "-4", "link", "show"))
    return sum(link["stats64"]["rx"]["packets"] for link in links if link["ifname"] in ("far", "pmafar"))


def sent(bench: "Bench", uid: int, device: str, address: str, kind: int = 8, size: int = 16) -> int:
    """Send one packet and return how many came outside."""
    before = came(bench)
    bench.python(_SEND, str(PROBES.parent), str(uid), str(kind), str(size), "7", device, address)
    return came(bench) - before


@pytest.mark.parametrize("address", ["10.71.0.1", "fd71::1"])
def test_a_probe_goes_through_its_tunnel_and_its_answer_comes_back(
    bench: "Bench", probing: GuardSpec, address: str
) -> None:
    bench.guard(probing)

    assert bench.python(_ASK, "pma", address).strip() == "3"


@pytest.mark.parametrize("state", [State.CLOSED, State.OPEN])
def test_without_the_line_no_probe_leaves(
    bench: "Bench", open_spec: GuardSpec, probing: GuardSpec, state: State
) -> None:
    bench.guard(open_spec if state is State.OPEN else replace(probing, state=state))

    assert bench.python(_ASK, "pma", "10.71.0.1").strip() == "0"


def test_nothing_else_gets_through_by_it(bench: "Bench", probing: GuardSpec) -> None:
    bench.guard(probing)
    assert sent(bench, 0, *_TUNNEL) == 1  # the control: this very packet passes

    assert sent(bench, 2001, *_TUNNEL) == 0, "another user, with CAP_NET_RAW"
    assert sent(bench, 64001, *_TUNNEL) == 0, "the proxy's user"
    assert sent(bench, 0, *_TUNNEL, kind=13) == 0, "another type"
    assert sent(bench, 0, *_TUNNEL, size=18) == 0, "another size"
    assert sent(bench, 0, "pma", "198.51.100.9") == 0, "another address"
    assert sent(bench, 0, "eth0", "10.71.0.1") == 0, "another device"
    assert sent(bench, 0, "eth0", "198.51.100.9") == 0, "an address outside"


def test_the_far_end_cannot_come_in_by_the_answer(bench: "Bench", probing: GuardSpec) -> None:
    bench.guard(probing)
    before = bench.counters().get("dropped_tunnel_new", 0)

    for kind in (0, 8, 13):  # a reply that nobody asked for, a request, a timestamp request
        told = (str(PROBES.parent), "0", str(kind), "16", "9", "pmafar", "10.71.0.2")
        bench.python(_SEND, *told, space=bench.outside)

        assert bench.counters().get("dropped_tunnel_new") == (before := before + 1), kind
