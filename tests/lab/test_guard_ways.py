"""What the guard lets through, by which way and for whom."""

import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pointsman.dataplane.capture import Capture, chosen, compile_capture
from pointsman.dataplane.guard import GuardSpec, State, guard_text
from pointsman.model.entry import Entry, Mode
from tests.lab.guard_flows import ASK, CAPTURE, DENY, ENTRIES, upstream


@pytest.fixture(autouse=True)
def _no_rules_left(bench) -> Iterator[None]:
    yield
    bench.open()


@pytest.mark.parametrize(("source", "target"), [("192.0.2.10", "198.51.100.9"), ("2001:db8:1::10", "2001:db8:2::9")])
def test_the_proxy_leaves_by_its_lane_and_not_otherwise(bench, open_spec: GuardSpec, source: str, target: str) -> None:
    bench.guard(open_spec)
    since = bench.watch()

    assert upstream(bench, 64001, 0x300000, "eth0", source, target).startswith("sent")
    assert since().canaries == 1
    wrong = [(64001, 0x200000), (64001, 0), (64001, 0x400000), (2001, 0x300000), (0, 0x300000), (64002, 0x300000)]
    assert [upstream(bench, uid, mark, "eth0", source, target)[:7] for uid, mark in wrong] == ["refused"] * len(wrong)
    assert since().canaries == 1


def test_the_proxy_leaves_by_a_tunnel_with_that_tunnels_mark_only(bench, open_spec: GuardSpec) -> None:
    bench.guard(open_spec)

    assert upstream(bench, 64001, 0x200000, "pma", "10.71.0.2", "10.71.0.1").startswith("sent")
    assert upstream(bench, 64001, 0x300000, "pma", "10.71.0.2", "10.71.0.1").startswith("refused")
    assert {"lane_00200000_out", "lane_00200000_in"} <= bench.counters().keys()


@pytest.mark.parametrize(
    ("uid", "address", "port", "mode", "lane", "own"),
    [
        (2001, "198.51.100.9", 80, Mode.HTTP, "", True),
        (2002, "198.51.100.9", 80, Mode.HTTP, "", False),
        (0, "2001:db8:2::9", 80, Mode.HTTP, "", False),
        (2001, "198.51.100.9", 7000, Mode.AUTO, "gold@a", True),
        (2001, "2001:db8:2::9", 7000, Mode.AUTO, "gold@a", True),
        (2001, "2001:db8:2::9", 7001, Mode.TCP, "gold@a", False),
        (2002, "198.51.100.9", 7000, Mode.AUTO, "plain@direct", False),
        (2002, "198.51.100.9", 7001, Mode.TCP, "", False),
        (2003, "198.51.100.9", 7001, Mode.TCP, "plain@direct", False),
        (2003, "198.51.100.99", 7001, Mode.TCP, "", False),
        (2003, "2001:db8:2::9", 7001, Mode.TCP, "", False),
        (2001, "203.0.113.5", 7000, Mode.AUTO, "", True),
        (2001, "192.0.2.1", 80, Mode.HTTP, "", True),
    ],
)
def test_a_captured_connection_enters_where_the_policy_says(
    bench, open_spec: GuardSpec, uid: int, address: str, port: int, mode: Mode, lane: str, own: bool
) -> None:
    bench.guard(replace(open_spec, capture=CAPTURE))
    uid_class = 2001 if own else None
    entry = next(e.port for e in ENTRIES if (e.mode, e.lane, e.uid) == (mode, lane, uid_class))
    since = bench.watch()

    assert bench.python(ASK, str(uid), address, str(port)) == f"{entry} {address}"
    assert since().traffic() == {}


def test_an_entry_cannot_be_connected_to_directly(bench, open_spec: GuardSpec) -> None:
    bench.guard(replace(open_spec, capture=CAPTURE))
    port = str(ENTRIES[0].port)

    own = str(next(entry.port for entry in ENTRIES if entry.uid == 2001))
    answers = {
        bench.python(ASK, uid, host, entry)
        for entry in (port, own)
        for uid in ("0", "2001")
        for host in ("127.0.0.1", "::1", "192.0.2.10")
    }

    assert answers == {"ConnectionRefusedError"}


# Root may give packets any priority.
_CLAIMED = """
import socket, sys
address, priority = sys.argv[1:]
with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as line:
    line.settimeout(2); line.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, int(priority))
    try: line.connect((address, 9999)); print(line.recv(100).decode(), end="")
    except OSError as error: print(type(error).__name__, end="")
"""


@pytest.mark.parametrize("address", ["198.51.100.9", "2001:db8:2::9"])
def test_nobody_claims_an_entry_by_a_priority_of_his_own(bench, open_spec: GuardSpec, address: str) -> None:
    bench.guard(replace(open_spec, capture=CAPTURE))
    major, _, minor = chosen(next(entry.port for entry in ENTRIES if entry.uid is None)).partition(":")
    priority = (int(major, 16) << 16) + int(minor, 16)

    assert bench.python(_CLAIMED, address, str(priority)) == "ConnectionRefusedError"


# Two entries, and users who connect from one port one after the other; how the first connection ends is asked for.
_AGAIN = """
import os, socket, struct, sys
address, near, how = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
os.seteuid(64001)
doors = {port: socket.create_server((near, port), family=family, backlog=0) for port in (21000, 21001)}
os.seteuid(0)
def call(uid, port=0, within=3):
    os.seteuid(uid); line = socket.socket(family); os.seteuid(0)
    line.settimeout(within); line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); line.bind(("", port))
    line.connect((address, 80))
    return line
def met(uid, port):
    try: line = call(uid, port)
    except OSError as error: return type(error).__name__
    for name, door in doors.items():
        door.settimeout(0.2)
        try:
            while (found := door.accept())[1][1] != port: pass
            return str(name)
        except TimeoutError: pass
if how == "reset":
    line = call(2001, 40001)
    end = doors[21000].accept()[0]
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); end.close()
else:
    waiting = []
    try:
        while True: waiting.append(call(2001, within=0.5))
    except TimeoutError: pass
    line = socket.socket(family)
    try: call(2001, 40001, 0.5)
    except TimeoutError: pass
    for _ in waiting: doors[21000].accept()
line.close()
print(met(2002, 40001), met(2002, 40002), end="")
"""


@pytest.mark.parametrize("how", ["reset", "unanswered"])
@pytest.mark.parametrize(("address", "near"), [("198.51.100.9", "127.0.0.1"), ("2001:db8:2::9", "::1")])
def test_a_port_that_another_user_had_leads_to_nobody_elses_entry(
    bench, open_spec: GuardSpec, address: str, near: str, how: str
) -> None:
    bench.guard(replace(open_spec, capture=_two_entries()))

    assert bench.python(_AGAIN, address, near, how) == "21001 21001"


# Somebody with CAP_NET_RAW, who sees all on `lo`, writes into a captured connection, or answers in the proxy's place.
_INJECT = """
import os, socket, struct, sys
address, near, into, way = sys.argv[1:]
six = ":" in address
family = socket.AF_INET6 if six else socket.AF_INET
tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); tap.bind(("lo", 0)); tap.settimeout(3)
os.seteuid(64001); door = socket.create_server((near, 21000), family=family); os.seteuid(0)
os.seteuid(2001); line = socket.socket(family); os.seteuid(0)
line.connect((address, 80))
os.seteuid(64001); end, caller = door.accept(); os.seteuid(0)
line.sendall(b"mine"); assert end.recv(9) == b"mine"
while True:  # the segment that carries it tells all numbers
    seen = tap.recv(2000)[14:]
    if (tcp := seen[40 if six else 20:])[-4:] == b"mine": break
seq, ack = struct.unpack("!II", tcp[4:12])
here, there = caller[:2], (address, 80)
if into == "request": source, target, numbers = here, there, (seq + 4, ack)
else: source, target, numbers = (near, 21000), here, (ack, seq + 4)
told = b"forged"
packed = [socket.inet_pton(family, one[0]) for one in (source, target)]
head = struct.pack("!HHIIBBHHH", source[1], target[1], *numbers, 5 << 4, 0x18, 512, 0, 0)
pseudo = b"".join(packed) + struct.pack("!II", len(head + told), 6)
total = sum(struct.unpack(f"!{(len(pseudo + head + told)) // 2}H", pseudo + head + told))
while total >> 16: total = (total & 0xFFFF) + (total >> 16)
segment = head[:16] + struct.pack("!H", ~total & 0xFFFF) + head[18:] + told
if six: packet = struct.pack("!IHBB", 6 << 28, len(segment), 6, 64) + b"".join(packed) + segment
else:
    packet = bytearray(struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 7, 0, 64, 6, 0) + b"".join(packed))
    total = sum(struct.unpack("!10H", packet)); total = (total & 0xFFFF) + (total >> 16)
    packet[10:12] = struct.pack("!H", ~total & 0xFFFF); packet = bytes(packet) + segment
try:
    if way == "raw":
        raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW); raw.sendto(packet, (target[0], 0))
    else: tap.send(bytes(12) + struct.pack("!H", 0x86DD if six else 0x800) + packet)
except OSError: pass
victim = end if into == "request" else line
victim.settimeout(1)
try: print(victim.recv(99).decode(), end="")
except OSError as error: print(type(error).__name__, end="")
"""


@pytest.mark.parametrize("way", ["raw", "frame"])
@pytest.mark.parametrize("into", ["request", "answer"])
@pytest.mark.parametrize(("address", "near"), [("198.51.100.9", "127.0.0.1"), ("2001:db8:2::9", "::1")])
def test_nobody_writes_into_a_captured_connection_of_another(
    bench, open_spec: GuardSpec, address: str, near: str, into: str, way: str
) -> None:
    bench.guard(replace(open_spec, capture=_two_entries()))

    assert bench.python(_INJECT, address, near, into, way) == "TimeoutError"


# A captured connection, then another guard, then an answer on it.
_CLOSING = """
import os, socket, subprocess, sys
os.seteuid(64001); door = socket.create_server(("127.0.0.1", 21000)); os.seteuid(0)
os.seteuid(2001); line = socket.socket(); os.seteuid(0)
line.settimeout(3); line.connect(("198.51.100.9", 80))
os.seteuid(64001); end = door.accept()[0]; os.seteuid(0)
subprocess.run(["nft", "-f", "-"], stdin=sys.stdin, check=True)
end.sendall(b"bye"); end.close()
try: print(line.recv(9).decode(), line.recv(9).decode(), end="")
except OSError as error: print(type(error).__name__, end="")
"""


def test_a_captured_connection_is_told_of_its_end_when_the_guard_has_closed(bench, open_spec: GuardSpec) -> None:
    bench.guard(replace(open_spec, capture=_two_entries()))
    closed = guard_text(replace(open_spec, state=State.CLOSED))

    assert bench.on(bench.host, sys.executable, "-c", _CLOSING, given=closed) == "bye "


def _two_entries() -> Capture:
    entries = [Entry(21000, Mode.HTTP, 2001), Entry(21001, Mode.HTTP, None)]
    return compile_capture([(Mode.HTTP, ((80, 80),))], entries, (), lambda _: DENY, lambda _: "")


def test_ports_that_are_not_captured_are_refused_at_once(bench, open_spec: GuardSpec) -> None:
    bench.guard(replace(open_spec, capture=CAPTURE))

    assert bench.python(ASK, "2001", "198.51.100.9", "9999") == "ConnectionRefusedError"
    assert bench.counters()["refused_tcp"] == 1


def test_link_users_may_speak_dhcp_and_nobody_else(bench, open_spec: GuardSpec) -> None:
    bench.guard(replace(open_spec, state=State.CLOSED, link_uids=frozenset({0})))
    since = bench.watch()

    bench.probe("udp_in_the_shape_of_dhcp", 0)
    assert since().canaries == 1
    bench.probe("frames_netraw", 2001)
    bench.probe("frames_netraw", 0)
    assert since().canaries == 1


def test_a_resolver_that_is_declared_can_be_asked(bench, open_spec: GuardSpec) -> None:
    bench.guard(replace(open_spec, resolvers=(("198.51.100.9", 53), ("2001:db8:2::9", 53)), capture=CAPTURE))
    since = bench.watch()

    bench.probe("udp4")
    bench.probe("udp6")

    assert since().canaries == 2


def test_exempt_users_are_left_alone_but_kept_out_of_tunnels(bench, open_spec: GuardSpec) -> None:
    bench.guard(replace(open_spec, exempt_uids=frozenset({2001}), capture=CAPTURE))
    since = bench.watch()

    bench.probe("tcp4")
    bench.probe("into_the_tunnel_netraw")

    assert since().canaries == 1
    assert bench.counters()["dropped_into_tunnel"] >= 1


def test_outer_packets_go_to_declared_endpoints_only(bench, open_spec: GuardSpec) -> None:
    bench.guard(open_spec)
    since = bench.watch()

    bench.probe("udp_to_tunnel_endpoint", 64002)
    assert since().canaries == 1
    bench.probe("udp4", 64002)
    bench.probe("tcp4", 64002)
    assert since().canaries == 1
