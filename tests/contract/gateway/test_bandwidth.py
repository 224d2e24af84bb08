"""What tunnels of a gateway have of its bandwidth, each and together, with real packets."""

import subprocess
import sys
from typing import Any

import pytest

from tests.contract.gateway.far_end import ORIGIN, World


@pytest.mark.parametrize("kind", ["wireguard", "openvpn"])
def test_a_tunnels_bandwidth_is_held(gate: World, kind: str) -> None:
    slow, fast = gate.grant(kind, "slow", bandwidth=8_000_000), gate.grant(kind, "fast", node="beta")
    seconds = {}
    for host, file in (("node", slow), ("other", fast)):
        device = gate.up(file, host)
        seconds[host] = float(gate.run(host, sys.executable, "-I", "-c", PUSH, device, ORIGIN[0]))

    # three megabytes, of which the kernel grants about one at once
    assert seconds["node"] > 1.2 > seconds["other"]
    assert gate.dropped()["over_rate"] > 0


# Sends three megabytes and says how long it took until the other end had them
PUSH = """
import socket, sys, time
line = socket.socket()
line.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, sys.argv[1].encode())
line.settimeout(30)
line.connect((sys.argv[2], 7001))
begun = time.monotonic()
line.sendall(b"x" * 3_000_000)
line.shutdown(socket.SHUT_WR)
assert line.recv(10) == b"3000000"
print(time.monotonic() - begun)
"""


@pytest.mark.parametrize("way", ["out", "in"])
def test_all_tunnels_together_have_the_bandwidth_of_the_gateway(world: World, way: str) -> None:
    first, second = two_tunnels(world, {"qos": "interactive"}, {"qos": "interactive"})

    (_, one), (_, other) = flows(world, way, ("node", first, 1_500_000), ("other", second, 1_500_000))

    # a megabyte a second, for three, and about one that the kernel grants at once
    assert 3_300_000 < one + other < 4_300_000, (one, other)
    assert min(one, other) > 500_000
    assert world.dropped()["over_rate"] > 0


@pytest.mark.parametrize("way", ["out", "in"])
def test_a_tunnel_has_what_it_reserved_and_one_without_gets_the_rest(world: World, way: str) -> None:
    reserved, bare = two_tunnels(world, {"qos": "interactive", "bandwidth": 800_000}, {})

    (sent, came), (_, rest) = flows(world, way, ("node", reserved, 80_000), ("other", bare, 2_000_000))

    assert came > 0.9 * sent
    # nine tenths of the megabyte
    assert 2_900_000 < rest < 3_900_000, rest


def two_tunnels(world: World, first: dict[str, Any], second: dict[str, Any]) -> tuple[str, str]:
    """Have two tunnels of two nodes and of both kinds, at a gateway with one megabyte a second in all."""
    world.write_site(capacity={"bandwidth": "8Mbit"})
    world.start()
    one = world.up(world.grant("wireguard", "a", **first))
    return one, world.up(world.grant("openvpn", "b", node="beta", **second), "other")


def flows(world: World, way: str, *tunnels: tuple[str, str, int]) -> list[tuple[int, int]]:
    """Send by all these tunnels at once, for each so many bytes a second: how many were sent by each, and came."""
    near, far = ("send", "take") if way == "out" else ("take", "send")
    ends: list[tuple[subprocess.Popen[str], ...]] = []
    for port, (host, device, rate) in enumerate(tunnels, 7002):
        away = _flow(world, "far", "", far, port, rate)
        assert away.stdout is not None
        assert away.stdout.readline() == "ready\n"
        ends.append((away, _flow(world, host, device, near, port, rate)))
    told = [tuple(int(end.communicate(timeout=30)[0]) for end in pair) for pair in ends]
    return [(here, there) if way == "out" else (there, here) for there, here in told]


def _flow(world: World, host: str, device: str, act: str, port: int, rate: int) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-I", "-c", FLOW, device, ORIGIN[0], str(port), act, str(rate)]
    return subprocess.Popen(["ip", "netns", "exec", world.spaces[host], *argv], stdout=subprocess.PIPE, text=True)


# One end of a flow of datagrams, which the near one (it has a device) begins: sends for three seconds, or takes
FLOW = """
import socket, sys, time
device, far, port, act, rate = sys.argv[1:]
line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
line.settimeout(10)
if device:
    line.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    line.connect((far, int(port)))
    line.send(b"hello")
else:
    line.bind(("0.0.0.0", int(port)))
    print("ready", flush=True)
    line.connect(line.recvfrom(100)[1])
count, begun = 0, time.monotonic()
if act == "send":
    while (now := time.monotonic() - begun) < 3:
        while count < now * int(rate): count += line.send(bytes(1000))
        time.sleep(0.002)
else:
    line.settimeout(2)
    try:
        while True: count += len(line.recv(2000))
    except TimeoutError: pass
print(count)
"""
