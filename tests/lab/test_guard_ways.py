"""What the guard lets through, and what it does in the states between: reloads, lost tunnels, orphans, observation."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from subprocess import PIPE, Popen

import pytest

from pointsman.dataplane.capture import compile_capture
from pointsman.dataplane.entries import plan
from pointsman.dataplane.guard import GuardSpec, Inbound, State, guard_text, removal_text
from pointsman.lab.wait import until
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


@contextmanager
def running(space: str, *argv: str) -> Iterator[Popen[str]]:
    """Run Python in a namespace, from its first line that says `ready` to its end."""
    command = ["nsenter", f"--net=/run/netns/{space}", sys.executable, *argv]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        yield child
        child.kill()


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
_ASK = """
import os, socket, sys
uid, address, port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
os.setresuid(uid, uid, uid)
with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as talk:
    talk.settimeout(2)
    try: talk.connect((address, port)); print(talk.recv(100).decode(), end="")
    except OSError as error: print(type(error).__name__, end="")
"""


@pytest.fixture(autouse=True)
def _no_rules_left(bench) -> Iterator[None]:
    yield
    bench.open()


def upstream(bench, uid: int, mark: int, device: str, source: str, target: str, port: int = 9999, end: str = "") -> str:
    return bench.python(_UPSTREAM, str(uid), hex(mark), device, source, target, str(port), bench.canary, end).strip()


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


def test_a_deleted_tunnel_device_sends_nothing_elsewhere(bench, open_spec: GuardSpec) -> None:
    bench.on(bench.host, "ip", "link", "add", "pmx", "type", "veth", "peer", "name", "pmy")
    bench.guard(replace(open_spec, lanes=(replace(open_spec.lanes[0], device="pmx"),), framed=("eth0", "pmx")))
    bench.on(bench.host, "ip", "link", "del", "pmx")
    since = bench.watch()

    assert upstream(bench, 64001, 0x200000, "", "", "198.51.100.9").startswith("refused")
    assert since().traffic() == {}


def test_what_the_proxy_left_unsent_still_leaves_by_its_lane(bench, open_spec: GuardSpec) -> None:
    bench.guard(open_spec)
    since = bench.watch()

    upstream(bench, 64001, 0x300000, "eth0", "192.0.2.10", "192.0.2.1", 9998, "flood")

    until(lambda: bench.counters().get("dropped_unattributed", 0) == 0 and since().canaries > 0, "the rest has left")
    bench.on(bench.host, "ss", "--kill", "dport", "=", "9998")


def test_what_an_ended_process_left_unsent_stays(bench, open_spec: GuardSpec) -> None:
    slow = """
import socket, sys
door = socket.create_server(("192.0.2.1", 9996)); print("ready", flush=True)
talk, _ = door.accept(); sys.stdin.readline(); talk.settimeout(3); total = 0
try:
    while data := talk.recv(65536): total += len(data)
except OSError: pass
print(total, flush=True)
"""
    fill = """
import socket, sys, time
talk = socket.create_connection(("192.0.2.1", 9996)); talk.setblocking(False)
try:
    while True: talk.send(sys.argv[1].encode() * 1000)
except BlockingIOError: print("ready", flush=True)
sys.stdin.read()
"""

    def left(guard: GuardSpec | None) -> int:
        with running(bench.outside, "-c", slow) as partner, running(bench.host, "-c", fill, bench.canary) as writer:
            if guard:
                bench.guard(guard)
            writer.kill()
            writer.wait()
            since = bench.watch()
            said, _ = partner.communicate("\n")
            assert said
            return since().canaries

    bench.open()
    assert left(None) > 0
    assert left(open_spec) == 0
    assert bench.counters()["dropped_unattributed"] > 0
    bench.on(bench.host, "ss", "--kill", "dport", "=", "9996")


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

    assert bench.python(_ASK, str(uid), address, str(port)) == f"{entry} {address}"
    assert since().traffic() == {}


def test_an_entry_cannot_be_connected_to_directly(bench, open_spec: GuardSpec) -> None:
    bench.guard(replace(open_spec, capture=CAPTURE))
    port = str(ENTRIES[0].port)

    answers = {
        bench.python(_ASK, uid, host, port) for uid in ("0", "2001") for host in ("127.0.0.1", "::1", "192.0.2.10")
    }

    assert answers == {"ConnectionRefusedError"}


def test_ports_that_are_not_captured_are_refused_at_once(bench, open_spec: GuardSpec) -> None:
    bench.guard(replace(open_spec, capture=CAPTURE))

    assert bench.python(_ASK, "2001", "198.51.100.9", "9999") == "ConnectionRefusedError"
    assert bench.counters()["refused_tcp"] == 1


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
            bench.python(_ASK, "0", host, port, space=bench.outside)
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

    assert bench.python(_ASK, "0", "10.71.0.2", "20000", space=bench.outside) == "TimeoutError"
    assert {"dropped_tunnel_new", "dropped_entry"} & bench.counters().keys()


def test_a_tunnel_without_a_lane_lets_nothing_new_in(bench, open_spec: GuardSpec) -> None:
    devices = tuple((lane.device, lane.sources) for lane in open_spec.lanes if lane.device not in open_spec.uplinks)
    bench.guard(replace(open_spec, lanes=(), ends=devices))

    assert bench.python(_ASK, "0", "10.71.0.2", "7777", space=bench.outside) == "TimeoutError"
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


def test_observing_lets_pass_and_counts(bench, open_spec: GuardSpec) -> None:
    bench.guard(replace(open_spec, state=State.OBSERVE))
    since = bench.watch()

    bench.probe("udp4")
    bench.probe("frames_netraw")

    assert since().canaries == 6
    assert (bench.counters()["dropped_owned"], bench.counters()["dropped_frames"]) == (5, 1)


def test_counters_are_carried_over_and_removal_leaves_nothing(bench, open_spec: GuardSpec) -> None:
    bench.on(bench.host, "nft", "add", "table", "inet", "theirs")
    bench.guard(open_spec)
    bench.probe("udp4")
    bench.on(bench.host, "nft", "-f", "-", given=guard_text(open_spec, {"refused_other": (5, 260)}))

    assert bench.counters() == {"refused_other": 5}
    bench.on(bench.host, "nft", "-f", "-", given=removal_text())
    bench.on(bench.host, "nft", "-f", "-", given=removal_text())
    assert bench.on(bench.host, "nft", "list", "ruleset").split() == ["table", "inet", "theirs", "{", "}"]


def test_reloads_under_flood_leak_nothing(bench, open_spec: GuardSpec) -> None:
    flood = """
import os, socket, sys, time
os.setresuid(2001, 2001, 2001)
print("ready", flush=True)
out = socket.socket(2, 2); sent = tcp = failed = 0
while True:
    for _ in range(200):
        try: out.sendto(sys.argv[1].encode(), ("198.51.100.9", 443)); sent += 1
        except OSError: pass
    with socket.socket() as talk:
        talk.settimeout(2); tcp += 1
        try: talk.connect(("198.51.100.9", 80)); failed += not talk.recv(100)
        except OSError: failed += 1
    print(sent, tcp, failed, flush=True)
"""
    forms = [guard_text(replace(open_spec, capture=CAPTURE)), guard_text(replace(open_spec, capture=CAPTURE, lanes=()))]
    bench.on(bench.host, "nft", "-f", "-", given=forms[0])
    since = bench.watch()
    with Popen(
        ["nsenter", f"--net=/run/netns/{bench.host}", sys.executable, "-c", flood, bench.canary], stdout=PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        for number in range(150):
            bench.on(bench.host, "nft", "-f", "-", given=forms[number % 2])
        child.kill()
        sent, tcp, failed = map(int, child.stdout.read().strip().split("\n")[-2].split())

    seen = since()
    assert (seen.canaries, seen.traffic(), sent) == (0, {}, 0)
    assert tcp > 20
    assert failed <= max(1, tcp // 1000)
