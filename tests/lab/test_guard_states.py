"""What the guard does in the states between: reloads, lost tunnels, orphans, observation."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from subprocess import PIPE, Popen

import pytest

from pointsman.dataplane.guard import GuardSpec, State, guard_text, removal_text
from pointsman.lab.wait import until
from tests.lab.guard_flows import CAPTURE, running, upstream


@pytest.fixture(autouse=True)
def _no_rules_left(bench) -> Iterator[None]:
    yield
    bench.open()


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

    assert bench.counters()["refused_other"] == 5
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
