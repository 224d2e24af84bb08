"""A bulk transfer does not harm interactive requests through the same tunnel, and outer packets say what is inside."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from pointsman.lab import clients, instance, world
from pointsman.lab import exec as on
from pointsman.lab.build import port
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.lab.watch import Witness
from tests.lab.steered import PATIENCE, SHARED, Steered, policy_text, steering
from tests.lab.test_limits import code_points

WG_A = {"encryption": "strong", "select": {"names": ["wg-a"]}}
PROFILES = [
    {"name": "quick", **WG_A, "qos": "interactive", "limits": {"guaranteed": "4Mbit"}},
    {"name": "bulk", **WG_A, "qos": "bulk"},
    {"name": "marked", "encryption": "strong", "select": {"names": ["wg-b"]}, "dedicated": True, "qos": "bulk"},
]
RULES = [
    {"name": "quick", "when": 'request.path.startsWith("/quick")', "profile": "quick"},
    {"name": "bulk", "when": 'request.path.startsWith("/up")', "profile": "bulk"},
    {"name": "marked", "when": 'request.path.startsWith("/marked")', "profile": "marked"},
]
# What lies between the instance and its gateway: as fast as this, with room for a quarter of a second
NARROW = ("rate", "20mbit", "burst", "64kb", "latency", "250ms")
RATE = "16Mbit"
ASKED = 150

# Sends without an end, and says so when the first two megabytes are on their way.
_FLOOD = """
import encodings.idna, os, socket, sys
os.setgroups([]); os.setresgid(1000, 1000, 1000); os.setresuid(1000, 1000, 1000)
lines = "POST /up HTTP/1.1", "Host: public.example", f"X-Canary: {sys.argv[2]}", "Content-Length: 1000000000", "", ""
with socket.create_connection((sys.argv[1], 80), 20) as line:
    line.sendall("\\r\\n".join(lines).encode())
    for number in range(15000):
        line.sendall(b"x" * 65536)
        if number == 32: print("floods", flush=True)
"""


def tunnels(lab: Lab, name: str, **fields: object) -> list[Any]:
    """Return the tunnels of the node file, one of them with these fields."""
    found = yaml.safe_load(instance.write_node(lab, None).read_text())["tunnels"]
    return [{**one, **(fields if one["name"] == name else {})} for one in found]


@contextmanager
def narrow(lab: Lab) -> Iterator[None]:
    """Have a slow way to the gateway of `wg-a`, with the long queue that such ways have."""
    line = ["tc", "qdisc"], ["dev", port("gw-a"), "root"]
    on.demand(lab, world.ROUTER, [*line[0], "add", *line[1], "tbf", *NARROW])
    try:
        yield
    finally:
        on.demand(lab, world.ROUTER, [*line[0], "del", *line[1]])


@contextmanager
def flooded(host: Steered, witness: Witness) -> Iterator[None]:
    """Have an upload through `wg-a` that takes all it gets."""
    argv = on.command(host.lab, world.INSTANCE, [sys.executable, "-c", _FLOOD, SHARED[0], witness.canary.decode()])
    flood = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert flood.stdout is not None
        assert flood.stdout.readline() == "floods\n"
        yield
        assert flood.poll() is None  # it was there to the end
    finally:
        flood.kill()
        flood.communicate()


def times(host: Steered, witness: Witness) -> list[float]:
    """Return how long small requests took, in milliseconds, the shortest first."""
    found = []
    with clients.connected(host.lab, SHARED[0], 80) as client:
        assert client.ask("/quick", host="public.example", headers=[witness.secret]).status == 200
        for _ in range(ASKED):
            begun = time.monotonic()
            assert client.ask("/quick", host="public.example", headers=[witness.secret]).status == 200
            found.append((time.monotonic() - begun) * 1000)
    return sorted(found)


def p90(found: list[float]) -> float:
    return found[int(len(found) * 0.9)]


def measured(lab: Lab, witness: Witness, rate: dict[str, str]) -> tuple[list[float], list[float]]:
    """Return the times of an idle tunnel, and under a flood."""
    text = policy_text(profiles=PROFILES, rules=RULES)
    with steering(lab, text, tunnels=tunnels(lab, "wg-a", **rate)) as host:
        host.until_up("wg-a")
        with narrow(lab):
            idle = times(host, witness)
            with flooded(host, witness):
                busy = times(host, witness)
        host.tell("down")
    return idle, busy


def test_interactive_requests_do_not_wait_behind_a_bulk_transfer(lab: Lab, witness: Witness) -> None:
    idle, busy = measured(lab, witness, {"rate": RATE})
    _, unordered = measured(lab, witness, {})

    said = f"p90 idle {p90(idle):.0f} ms, queued {p90(busy):.0f} ms, without queues {p90(unordered):.0f} ms"
    assert p90(busy) < p90(idle) + 100, said
    assert unordered[ASKED // 2] > 3 * busy[ASKED // 2], said
    assert p90(unordered) > 1.5 * p90(busy), said


def test_queues_are_there_while_it_is_up_and_gone_after(lab: Lab, witness: Witness) -> None:
    def disciplines() -> str:
        return on.demand(lab, world.INSTANCE, ["tc", "qdisc"])

    before = disciplines()
    text = policy_text(profiles=PROFILES, rules=RULES)
    rated = [
        {**one, **({"rate": "50Mbit"} if one["name"] == "direct" else {})} for one in tunnels(lab, "wg-a", rate=RATE)
    ]
    with steering(lab, text, tunnels=rated) as host:
        host.until_up("wg-a")
        until(lambda: disciplines().count("htb 7112:") == 2, "there are queues", within=PATIENCE)
        assert host.status()["warnings"] == []
        host.tell("down")

    assert disciplines() == before


@pytest.mark.parametrize("way", ["tunnel", "profile"])
def test_outer_packets_have_the_code_point_of_their_tunnel(lab: Lab, witness: Witness, way: str) -> None:
    fields = {"outerDscp": 1} if way == "tunnel" else {}
    profiles = [
        {**one, **({"dscpOuter": True} if way == "profile" and one["name"] == "marked" else {})} for one in PROFILES
    ]
    with steering(lab, policy_text(profiles=profiles, rules=RULES), tunnels=tunnels(lab, "wg-b", **fields)) as host:
        host.until_up("wg-a", "wg-b")
        outer = {name: world.GATEWAYS[place].endpoint.address for place, name in enumerate(("wg-a", "wg-b"))}

        assert outside(host, outer["wg-b"], "/marked", witness.secret) == [1]
        assert outside(host, outer["wg-a"], "/quick", witness.secret) == [0]
        host.tell("down")


def outside(host: Steered, gateway: str, path: str, secret: tuple[str, str]) -> list[int]:
    """Return the code points of what goes to a gateway while a request goes through its tunnel."""
    return code_points(host, world.ROUTER, port(world.INSTANCE), SHARED[0], path, secret, seen=gateway)
