"""The edge to the socket table, against a real kernel in a network namespace of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from pointsman.lab import spaces

# Everything that is done in the namespace is one process: it says what it found, as JSON.
_START = """
import json, os, socket, sys
from pointsman.system import connections, devices
FAMILY, HOST = (socket.AF_INET6, "::1") if sys.argv[1] == "6" else (socket.AF_INET, "127.0.0.1")
door = socket.create_server((HOST, 0), family=FAMILY)
def connected(mark=0, device="", uid=0):
    line = socket.socket(FAMILY)
    if mark: line.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    if device: line.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    if uid: os.fchown(line.fileno(), uid, uid)
    line.connect(door.getsockname()[:2])
    return line, door.accept()[0]
def seen(line):
    ends = line.getsockname()[1], line.getpeername()[1]
    [found] = [one for one in connections.standing() if (one.local_port, one.remote_port) == ends]
    return found
def state(line):
    try: line.send(b"x"); return "stands"
    except OSError as error: return type(error).__name__
"""
FAMILIES = pytest.mark.parametrize("family", ["4", "6"])


@pytest.fixture(scope="module")
def space() -> Iterator[str]:
    if os.geteuid() != 0:
        pytest.fail("network namespaces need root")
    with spaces.space("sockets") as name:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True, timeout=30)
        yield name


def told(space: str, code: str, family: str = "4") -> Any:
    command = ["nsenter", f"--net=/run/netns/{space}", sys.executable, "-c", _START + code, family]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@FAMILIES
def test_a_connection_is_seen_with_what_it_is_bound_to(space: str, family: str) -> None:
    code = """
a, b = connected(0x00200001, "lo")
b.sendall(b"y" * 1000); a.recv(2000)
one = seen(a)
print(json.dumps([one.local, one.remote, one.mark, one.device, one.received, one.leaves, one.uid, list(one.points)]))
"""
    host = "::1" if family == "6" else "127.0.0.1"
    local, remote, mark, device, received, leaves, uid, points = told(space, code, family)

    assert (local, remote, mark, device, received, leaves, uid) == (host, host, 0x00200001, "lo", 1000, False, 0)
    assert all(point.startswith("[::1]:" if family == "6" else "127.0.0.1:") for point in points)


def test_one_that_is_bound_to_nothing_has_no_device_and_no_mark(space: str) -> None:
    assert told(space, "one = seen(connected()[0]); print(json.dumps([one.mark, one.device]))") == [0, ""]


@FAMILIES
def test_only_the_very_connection_is_ended_and_its_peer_is_told(space: str, family: str) -> None:
    code = """
a, b = connected(); c, d = connected()
ended = connections.reset([seen(a)])
print(json.dumps([ended, state(a), state(b), state(c), state(d)]))
"""
    ended, mine, theirs, *others = told(space, code, family)

    assert (ended, mine, theirs, others) == (1, "ConnectionAbortedError", "ConnectionResetError", ["stands", "stands"])


def test_the_connections_of_a_mark_are_found_and_ended_by_it(space: str) -> None:
    code = """
(a, _), (b, _), (c, _) = lines = connected(), connected(0x00200007), connected(0x00300000)
def marked(mark): return [one for one in connections.standing() if one.mark & 0x3FF00000 == mark]
found = [len(marked(mark)) for mark in (0x00200000, 0x00300000, 0x00400000)]
connections.reset(marked(0x00300000))
print(json.dumps([found, state(a), state(b), state(c), len(marked(0x00300000))]))
"""
    assert told(space, code) == [[1, 1, 0], "stands", "stands", "ConnectionAbortedError", 0]


def test_a_connection_that_has_ended_meanwhile_is_no_fault(space: str) -> None:
    code = (
        "a, b = connected(); one = seen(a); print(json.dumps([connections.reset([one, one]), connections.reset([])]))"
    )

    assert told(space, code) == [1, 0]


def test_one_that_is_still_being_made_is_seen_and_ended(space: str) -> None:
    code = """
import subprocess
subprocess.run("ip link add eth9 type veth peer name far9; ip link set eth9 up; ip link set far9 up;"
               "ip addr add 192.0.2.9/24 dev eth9; ip neigh add 192.0.2.8 lladdr 02:00:00:00:00:08 dev eth9",
               shell=True, check=True)
line = socket.socket(); line.setblocking(False); line.connect_ex(("192.0.2.8", 80))
def going(): return [each for each in connections.standing() if each.remote == "192.0.2.8"]
[one] = going()
print(json.dumps([one.leaves, one.local, connections.reset([one]), len(going())]))
"""
    assert told(space, code) == [True, "192.0.2.9", 1, 0]


def test_the_bytes_that_a_device_has_sent_are_read(space: str) -> None:
    code = """
before = devices.sent_bytes()["lo"]
a, b = connected(); a.sendall(b"z" * 5000); b.recv(9000)
print(json.dumps(devices.sent_bytes()["lo"] - before > 5000))
"""
    assert told(space, code) is True


ENDS = "(a.getsockname()[:2], a.getpeername()[:2])"


@FAMILIES
def test_the_owner_of_one_connection_is_asked_for_by_its_ends(space: str, family: str) -> None:
    code = f"""
(a, b), (c, d) = connected(uid=1001), connected(uid=1002)
found = [connections.owner(one.getsockname()[:2], one.getpeername()[:2]) for one in (a, c, b)]
local, remote = {ENDS}
others = ((local, (remote[0], 1)), (remote, (local[0], 1)), (("", 0), remote))
found += [connections.owner(*ends) for ends in others]
print(json.dumps(found))
"""
    assert told(space, code, family) == [1001, 1002, 0, None, None, None]


def test_the_owner_of_an_ipv4_connection_that_an_ipv6_socket_made_is_found(space: str) -> None:
    code = """
a = socket.socket(socket.AF_INET6); os.fchown(a.fileno(), 1001, 1001)
a.connect(("::ffff:127.0.0.1", door.getsockname()[1]))
mapped = (a.getsockname()[:2], a.getpeername()[:2])
plain = [(address.removeprefix("::ffff:"), port) for address, port in mapped]
print(json.dumps([mapped[0][0], connections.owner(*mapped), connections.owner(*plain)]))
"""
    assert told(space, code) == ["::ffff:127.0.0.1", 1001, 1001]


@FAMILIES
def test_a_connection_that_is_bound_to_loopback_has_an_owner(space: str, family: str) -> None:
    code = f"a, b = connected(device='lo', uid=1001); print(json.dumps(connections.owner(*{ENDS})))"

    assert told(space, code, family) == 1001


@FAMILIES
def test_who_has_closed_is_nobody_and_who_only_says_no_more_is_still_there(space: str, family: str) -> None:
    code = f"""
a, b = connected(uid=1001)
ends = {ENDS}
a.shutdown(socket.SHUT_WR)
found = [connections.owner(*ends)]
c, d = connected(uid=1002)
others = c.getsockname()[:2], c.getpeername()[:2]
c.setblocking(False)
try:
    while True: c.send(bytes(65536))
except BlockingIOError: pass
c.close()
still = [one for one in connections.standing() if one.local_port == others[0][1]]
found += [connections.owner(*others), len(still)]
print(json.dumps(found))
"""
    assert told(space, code, family) == [1001, None, 1]
