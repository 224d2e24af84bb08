"""Bandwidth, code point and queue priority of a profile, measured with real connections."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from subprocess import PIPE, Popen

import pytest

from pointsman.dataplane.guard import GuardSpec
from pointsman.dataplane.treatment import Treatment

# As the proxy on the lane of `plain`: many connections that send or fetch as fast as they can.
_PUMP = """
import os, socket, sys, threading, time
way, count, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
os.setresuid(-1, 64001, 0)
talks = [socket.socket() for _ in range(count)]
os.seteuid(0)
for talk in talks:
    talk.setsockopt(1, 36, 0x300000)
    talk.setsockopt(0, 1, 0xb8); talk.setsockopt(1, 12, 6)
moved = [0] * count
def pump(number):
    talk = talks[number]
    try:
        talk.connect(("192.0.2.1", 7100)); talk.sendall(way.encode())
        while True:
            if way == "u": talk.send(b"x" * 16384)
            else: moved[number] += len(talk.recv(65536))
    except OSError: pass
for number in range(count): threading.Thread(target=pump, args=(number,), daemon=True).start()
def sent():
    return int(next(line for line in open("/proc/net/dev") if "eth0:" in line).split()[9])
time.sleep(1.5); before = sum(moved) if way == "d" else sent(); start = time.monotonic()
time.sleep(seconds); after = sum(moved) if way == "d" else sent()
print((after - before) * 8 / (time.monotonic() - start)); sys.stdout.flush(); os._exit(0)
"""
_PARTNER = """
import socket, threading
def serve(talk):
    try:
        if talk.recv(1) == b"u":
            while talk.recv(65536): pass
        while True: talk.sendall(b"x" * 16384)
    except OSError: pass
door = socket.create_server(("192.0.2.1", 7100), backlog=200)
print("ready", flush=True)
while True: threading.Thread(target=serve, args=(door.accept()[0],), daemon=True).start()
"""
_LIMIT = 10_000_000


@pytest.fixture(autouse=True)
def _no_rules_left(bench) -> Iterator[None]:
    yield
    bench.open()


@pytest.fixture(scope="module")
def partner(bench) -> Iterator[None]:
    with Popen(
        ["nsenter", f"--net=/run/netns/{bench.outside}", sys.executable, "-c", _PARTNER], stdout=PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        yield
        child.kill()


@pytest.mark.parametrize("way", ["u", "d"])
@pytest.mark.parametrize("connections", [1, 50])
def test_a_profile_keeps_to_its_bandwidth(
    bench, open_spec: GuardSpec, partner: None, way: str, connections: int
) -> None:
    bench.guard(replace(open_spec, treatments=(Treatment("plain", 18, "0:6", _LIMIT),)))

    rate = float(bench.python(_PUMP, way, str(connections), "4"))

    assert 0.85 * _LIMIT <= rate <= 1.08 * _LIMIT


def test_code_points_are_the_profiles_whatever_the_sender_asked_for(bench, open_spec: GuardSpec, partner: None) -> None:
    look = """
import socket, struct, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); wire.bind(("far", 3))
print("ready", flush=True)
while True:
    frame, sender = wire.recvfrom(70000)
    if sender[2] != 4 and frame[12:14] == b"\\x08\\x00" and frame[23] == 6: print(frame[15] >> 2, flush=True)
"""
    bench.guard(replace(open_spec, treatments=(Treatment("plain", 18, "0:6", None),)))
    with Popen(
        ["nsenter", f"--net=/run/netns/{bench.outside}", sys.executable, "-c", look], stdout=PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        bench.python(_PUMP, "d", "2", "0.2")
        child.kill()
        marks = set(child.stdout.read().split())

    assert marks == {"18"}
