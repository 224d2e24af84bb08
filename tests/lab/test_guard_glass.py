"""The broken glass, with nobody there to close it: no agent runs here, the kernel alone keeps the time."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from subprocess import PIPE, Popen

import pytest

from pointsman.dataplane.guard import GuardSpec
from pointsman.lab.wait import until

SECONDS = 4

# As an application: sends the canary on one connection as often as it is told to.
_TALK = """
import os, socket, sys
os.setresuid(2001, 2001, 2001)
talk = socket.socket(); talk.settimeout(2); talk.connect(("198.51.100.9", 80))
for _ in sys.stdin:
    try: talk.sendall(sys.argv[1].encode()); talk.recv(1); print("sent", flush=True)
    except OSError: print("refused", flush=True)
"""


@pytest.fixture(autouse=True)
def _no_rules_left(bench) -> Iterator[None]:
    yield
    bench.open()


def closed(bench) -> bool:
    found = json.loads(bench.on(bench.host, "nft", "-j", "list", "sets"))["nftables"]
    return not any("elem" in item["set"] for item in found if "set" in item and item["set"]["name"] == "glass")


@pytest.mark.parametrize(
    "name", ["tcp_captured_port", "tcp6", "icmp_echo_netraw", "raw_ip_netraw", "frames_netraw", "udp_fragmented"]
)
def test_the_glass_opens_and_closes_by_itself(bench, open_spec: GuardSpec, name: str) -> None:
    bench.guard(replace(open_spec, glass=SECONDS))
    since = bench.watch()

    said = bench.probe(name)
    opened = since().canaries
    assert not closed(bench)
    until(lambda: closed(bench), "the glass is closed", within=SECONDS + 10)
    bench.probe(name)

    assert opened >= 1, said
    assert since().canaries == opened


def test_a_connection_begun_at_the_broken_glass_ends_with_it(bench, open_spec: GuardSpec) -> None:
    bench.guard(replace(open_spec, glass=SECONDS))
    since = bench.watch()
    command = ["nsenter", f"--net=/run/netns/{bench.host}", sys.executable, "-c", _TALK, bench.canary]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None

        def send() -> str:
            print(file=child.stdin, flush=True)
            return child.stdout.readline().strip()

        assert (send(), since().canaries) == ("sent", 1)
        until(lambda: closed(bench), "the glass is closed", within=SECONDS + 10)
        assert (send(), since().canaries) == ("refused", 1)
        child.kill()


def test_the_proxy_without_its_mark_stays_at_the_broken_glass(bench, open_spec: GuardSpec) -> None:
    bench.guard(replace(open_spec, glass=60))
    since = bench.watch()

    bench.probe("tcp4", 64001)
    bench.probe("udp4", 64001)

    assert since().canaries == 0
    assert bench.counters()["dropped_proxy"] >= 1
