"""What comes to the host from outside, or pretends to, under the guard."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from subprocess import PIPE, Popen

import pytest

from pointsman.dataplane.guard import GuardSpec, Inbound, State
from tests.lab.guard_flows import ASK


@pytest.fixture(autouse=True)
def _no_rules_left(bench) -> Iterator[None]:
    yield
    bench.open()


def test_services_on_declared_inbound_ports_answer_and_others_do_not(bench, open_spec: GuardSpec) -> None:
    serve = """
import os, socket, sys
os.setresuid(2001, 2001, 2001) if int(sys.argv[1]) > 1024 else None
door = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    talk, _ = door.accept(); talk.sendall(b"hello"); talk.close()
"""
    bench.guard(replace(open_spec, inbound=(Inbound("tcp", ((22, 22),)),)))
    with ExitStack() as ends:
        for port in ("22", "8022"):
            child = Popen(
                ["nsenter", f"--net=/run/netns/{bench.host}", sys.executable, "-c", serve, port], stdout=PIPE, text=True
            )
            ends.callback(child.wait)
            ends.callback(child.kill)
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        ask = [
            bench.python(ASK, "0", host, port, space=bench.outside)
            for port in ("22", "8022")
            for host in ("192.0.2.10", "2001:db8:1::10")
        ]

    assert ask == ["hello", "hello", "TimeoutError", "TimeoutError"]


def test_neighbours_and_pings_from_outside_are_answered(bench, open_spec: GuardSpec) -> None:
    bench.guard(replace(open_spec, state=State.CLOSED))
    for family in ("-4", "-6"):
        bench.on(bench.outside, "ip", family, "neigh", "flush", "dev", "far")
        bench.on(bench.host, "ip", family, "neigh", "flush", "dev", "eth0")
    ping = """
import socket, struct, sys
for family, protocol, kind, address in ((2, 1, 8, "192.0.2.10"), (10, 58, 128, "2001:db8:1::10")):
    with socket.socket(family, socket.SOCK_RAW, protocol) as talk:
        talk.settimeout(2)
        head = struct.pack("!BBHHH", kind, 0, 0, 7, 1)
        total = sum(struct.unpack("!4H", head)); check = 0xffff - (total % 0xffff)
        talk.sendto(struct.pack("!BBHHH", kind, 0, check, 7, 1), (address, 0))
        while talk.recvfrom(2000)[0][20 if family == 2 else 0] != (0 if family == 2 else 129): pass
print("answered")
"""
    assert bench.python(ping, space=bench.outside) == "answered\n"


def test_what_pretends_on_lo_to_come_from_outside_gets_no_answer_out(bench, open_spec: GuardSpec) -> None:
    """`CAP_NET_RAW` is enough for an echo request from anywhere, and for a reply in a connection that nobody began."""
    pretend = """
import socket, struct, sys
canary = sys.argv[1].encode(); canary += b"x" * (len(canary) % 2)
me, far = socket.inet_aton("192.0.2.10"), socket.inet_aton("198.51.100.9")
me6, far6 = socket.inet_pton(10, "2001:db8:1::10"), socket.inet_pton(10, "2001:db8:2::9")
def sum16(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return struct.pack("!H", 0xffff - total)
def ip(source, target, protocol, load):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(load), 7, 0, 64, protocol, 0, source, target)
    return head[:10] + sum16(head) + head[12:] + load
def tcp(source, target, ports, flags, load=b""):
    head = struct.pack("!HHIIBBHHH", *ports, 100, 0, 0x50, flags, 1000, 0, 0) + load
    return head[:16] + sum16(source + target + struct.pack("!BBH", 0, 6, len(head)) + head) + head[18:]
echo = struct.pack("!BBHHH", 8, 0, 0, 9, 1) + canary; echo = echo[:2] + sum16(echo) + echo[4:]
echo6 = struct.pack("!BBHHH", 128, 0, 0, 9, 1) + canary
echo6 = echo6[:2] + sum16(far6 + me6 + struct.pack("!II", len(echo6), 58) + echo6) + echo6[4:]
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0); wire.bind(("lo", 0x800))
def by_lo(packet, kind): wire.send(bytes(12) + struct.pack("!H", kind) + packet)
by_lo(ip(far, me, 1, echo), 0x800)
by_lo(struct.pack("!IHBB", 6 << 28, len(echo6), 58, 64) + far6 + me6 + echo6, 0x86DD)
raw.sendto(ip(far, me, 1, echo), ("192.0.2.10", 0))
for port, send in ((4444, lambda p: by_lo(p, 0x800)), (4445, lambda p: raw.sendto(p, ("192.0.2.10", 0)))):
    send(ip(far, me, 6, tcp(far, me, (port, 22), 2)))
    try: raw.sendto(ip(me, far, 6, tcp(me, far, (22, port), 0x18, canary)), ("198.51.100.9", 0))
    except OSError: pass
print("done")
"""
    bench.open()
    unguarded = bench.watch()
    bench.python(pretend, bench.canary)
    assert unguarded().canaries == 5
    bench.guard(replace(open_spec, inbound=(Inbound("tcp", ((22, 22),)),)))
    seen = bench.watch()
    bench.python(pretend, bench.canary)

    assert seen().canaries == 0


def test_a_tunnels_own_address_is_not_there_for_the_local_net(bench, open_spec: GuardSpec) -> None:
    attack = """
import socket, struct, sys
me, you = bytes.fromhex(sys.argv[1]), bytes.fromhex(sys.argv[2])
inner, gate = socket.inet_aton("10.71.0.2"), socket.inet_aton("192.0.2.1")
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); wire.bind(("far", 3)); wire.settimeout(1)
arp = struct.pack("!HHBBH", 1, 0x800, 6, 4, 1) + me + gate + bytes(6) + inner
wire.send(b"\\xff" * 6 + me + b"\\x08\\x06" + arp)
ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 1, 0, 64, 6, 0, gate, inner)
total = sum(struct.unpack("!10H", ip)); total = (total & 0xffff) + (total >> 16)
ip = ip[:10] + struct.pack("!H", 0xffff - total) + ip[12:]
def tcp(flags):
    head = struct.pack("!HHIIBBHHH", 4444, 5555, 1, 1, 0x50, flags, 1000, 0, 0)
    total = sum(struct.unpack("!10H", head)) + sum(struct.unpack("!4H", gate + inner)) + 6 + 20
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return head[:16] + struct.pack("!H", 0xffff - total) + head[18:]
for flags in (0x12, 0x02, 0x10): wire.send(you + me + b"\\x08\\x00" + ip + tcp(flags))
answers = 0
try:
    while True:
        frame, sender = wire.recvfrom(2000)
        told = frame[28:32] if frame[12:14] == b"\\x08\\x06" else frame[26:30]
        answers += sender[2] != 4 and told == inner
except TimeoutError: print(answers)
"""
    mac = {
        device: json.loads(bench.on(space, "ip", "-j", "link", "show", device))[0]["address"].replace(":", "")
        for space, device in ((bench.outside, "far"), (bench.host, "eth0"))
    }
    bench.open()
    unguarded = int(bench.python(attack, mac["far"], mac["eth0"], space=bench.outside))
    bench.guard(open_spec)

    assert unguarded >= 2
    assert bench.python(attack, mac["far"], mac["eth0"], space=bench.outside) == "0\n"
    assert bench.counters()["dropped_spoofed"] == 3


def test_new_connections_out_of_a_tunnel_are_dropped(bench, open_spec: GuardSpec) -> None:
    bench.guard(open_spec)

    assert bench.python(ASK, "0", "10.71.0.2", "20000", space=bench.outside) == "TimeoutError"
    assert {"dropped_tunnel_new", "dropped_entry"} & bench.counters().keys()


def test_a_tunnel_without_a_lane_lets_nothing_new_in(bench, open_spec: GuardSpec) -> None:
    devices = tuple((lane.device, lane.sources) for lane in open_spec.lanes if lane.device not in open_spec.uplinks)
    bench.guard(replace(open_spec, lanes=(), ends=devices))

    assert bench.python(ASK, "0", "10.71.0.2", "7777", space=bench.outside) == "TimeoutError"
    assert bench.counters()["dropped_tunnel_new"] >= 1


def test_forwarded_packets_are_dropped(bench, open_spec: GuardSpec) -> None:
    bench.on(bench.host, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    bench.on(bench.outside, "ip", "route", "add", "198.51.100.50/32", "via", "10.71.0.2", "src", "10.71.0.1")
    send = """
import socket, sys
for _ in range(3): socket.socket(2, 2).sendto(sys.argv[1].encode(), ("198.51.100.50", 9))
"""
    bench.open()
    since = bench.watch()
    bench.python(send, bench.canary, space=bench.outside)
    assert since().canaries == 3

    bench.guard(open_spec)
    since = bench.watch()
    bench.python(send, bench.canary, space=bench.outside)

    assert since().canaries == 0
    assert bench.counters()["dropped_forwarded"] == 3
