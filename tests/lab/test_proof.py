"""Proof of path: what takes another way is held, found and ended; what still runs follows a change of policy."""

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from pointsman.lab import clients, world
from pointsman.lab import exec as on
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.lab.watch import CONTROL_FRAMES, Witness
from pointsman.model.routing import FAMILIES, Family
from pointsman.node.boot import evidence_of
from tests.lab.steered import PATIENCE, POLICY, SHARED, Steered, policy_text, seen_in_clear, steering

GRPC_UNAVAILABLE = 14
LATELY = 6.0  # seconds; more than one line of evidence


@pytest.fixture(scope="module")
def host(lab: Lab, witness: Witness) -> Iterator[Steered]:
    assert witness.control() == CONTROL_FRAMES
    with steering(lab, POLICY) as made:
        made.until_up()
        assert seen_in_clear(made, witness, "http1", "call", "websocket") == 3
        yield made


# Asks on one connection after the other, each until it fails, until its input ends. Tells how often each status came.
_ASKING = """
import collections, encodings.idna, http.client, json, os, sys, threading, time
address, asks = sys.argv[1], json.loads(sys.argv[2])
os.setgroups([]); os.setresgid(1000, 1000, 1000); os.setresuid(1000, 1000, 1000)
ended, seen = threading.Event(), collections.Counter()
def ask(headers):
    while not ended.is_set():
        line = http.client.HTTPConnection(address, 80, timeout=8)
        try:
            while not ended.is_set():
                line.request("GET", "/patients", headers=dict(headers))
                answer = line.getresponse(); answer.read()
                seen[str(answer.status)] += 1
                time.sleep(0.02)
        except (OSError, http.client.HTTPException): seen["failed"] += 1
        line.close()
for headers in asks: threading.Thread(target=ask, args=(headers,), daemon=True).start()
while not seen: time.sleep(0.01)
print("begun", flush=True)
sys.stdin.read(); ended.set(); time.sleep(0.1)
print(json.dumps(seen), flush=True)
"""

# One plain TCP connection that says something and is then held open until the other side ends it.
_HANGING = """
import encodings.idna, os, socket, sys
os.setgroups([]); os.setresgid(1000, 1000, 1000); os.setresuid(1000, 1000, 1000)
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 20) as line:
    line.sendall(b"\\x16\\x03\\x01" + sys.argv[3].encode()); line.recv(65536); line.settimeout(None)
    print("begun", flush=True)
    try:
        while line.recv(65536): pass
    except ConnectionError: pass
"""


@contextmanager
def asking(host: Steered, witness: Witness, address: str = SHARED[0]) -> Iterator[dict[str, int]]:
    """Ask without end while the block runs, with the canary through tunnels. The answer is filled in at its end."""
    secret = witness.secret
    asks = [
        [("Host", "records.example"), host.token(role="admin"), secret],
        [("Host", "records.example"), host.token(role="clerk"), secret],
        [("Host", "pay.example"), host.token(role="clerk"), secret],
        [("Host", "public.example")],
    ]
    argv = on.command(host.lab, world.INSTANCE, [sys.executable, "-c", _ASKING, address, json.dumps(asks)])
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    result: dict[str, int] = {}
    try:
        yield result
    finally:
        told, _ = process.communicate("", timeout=60)
        result.update(json.loads(told.splitlines()[-1]))


def verified(host: Steered, since: float) -> tuple[int, Any]:
    """What `pointsman verify` says of the time since then, and its exit code."""
    done = host.run("pointsman", "verify", "--json", "--since", f"{math.ceil(time.time() - since)}s")
    return done.returncode, json.loads(done.stdout)


def right(host: Steered) -> bool:
    """Whether it says that all of the last seconds is right: asked often, without the time that a command takes."""
    found = evidence_of(host.lab.runtime, time.time() - LATELY, time.time())
    return bool(found["judgement"] == "right" and found["policies"])  # somebody looked


def verified_until(
    host: Steered, since: float, holds: Callable[[Any], bool], what: str, within: float
) -> tuple[int, dict[str, Any]]:
    """What it says once that holds: asked again it may start a little later, by as much as a command takes to start."""

    def once() -> bool:
        return holds(evidence_of(host.lab.runtime, since, time.time()))

    until(once, what, host.lab.log(world.INSTANCE, "agent"), within=within)
    return verified(host, since)


def test_what_goes_right_is_proven_by_the_kernel_and_counters(host: Steered, witness: Witness) -> None:
    with asking(host, witness):
        until(lambda: right(host), "ten seconds are right", within=PATIENCE)
        code, found = verified(host, time.time() - LATELY)

    assert (code, found["judgement"], found["misrouted"], found["unknown"]) == (0, "right", {}, [])
    assert {lane for lane, counts in found["lanes"].items() if counts["open"]} >= {
        "vault@wg-a",
        "archive@wg-b",
        "payments@ovpn-c",
        "plain@direct",
    }
    assert all(counts["unknown"] == 0 for counts in found["lanes"].values())
    for name in ("wg-a", "wg-b", "ovpn-c"):
        assert 0 < found["tunnels"][name]["guard"] < found["tunnels"][name]["sent"]


def test_a_time_when_nobody_looked_is_unknown(host: Steered) -> None:
    code, found = verified(host, time.time() - 3600)

    assert (code, found["judgement"], found["unknown"][0][:14]) == (1, "unknown", "nobody looked ")


# What somebody with all rights on the host may do to the way of a packet, and how it is found.
MISROUTINGS = {
    "route in main": (
        "ip {family} route add {origin} dev {other}",
        "ip {family} route del {origin} dev {other}",
        "route",
    ),
    "route in our table": (
        "ip {family} route add {origin} via {router} dev eth0 table {table}",
        "ip {family} route del {origin} table {table}",
        "route",
    ),
    "rule above ours": (
        "ip {family} rule add pref 100 fwmark {mark} lookup main",
        "ip {family} rule del pref 100",
        "route",
    ),
    "changed mark": (
        "nft add table inet foreign; nft 'add chain inet foreign c {{ type route hook output priority -100; }}';"
        " nft add rule inet foreign c meta mark {mark} meta mark set {plain}",
        "nft delete table inet foreign",
        "held",
    ),
    "swapped interface": (
        "ip link set {link} down; ip link set {link} name stolen; ip link set stolen up;"
        " ip link add {link} type veth peer name swapped; ip link set {link} up; ip link set swapped up",
        "ip link del {link}",
        "device",
    ),
}


# routes and devices are looked at the same way in both families
CASES = [
    (what, family)
    for what in MISROUTINGS
    for family in FAMILIES
    if family == 4 or what in ("rule above ours", "changed mark")
]


@pytest.mark.parametrize(("what", "family"), CASES)
def test_a_misrouting_is_found_and_nothing_leaves_in_the_clear(
    host: Steered, witness: Witness, what: str, family: Family
) -> None:
    origin = SHARED[family == 6]
    inject, undo, reason = MISROUTINGS[what]
    status = host.status()
    tunnels = {tunnel["name"]: tunnel for tunnel in status["tunnels"]}
    marks = {profile["name"]: profile["mark"] for profile in status["profiles"]}
    names = {
        "family": f"-{family}",
        "origin": origin,
        "other": tunnels["wg-b"]["device"],
        "router": world.host(world.ROUTER).legs[0].addresses[family == 6].split("/")[0],
        "table": tunnels["wg-a"]["table"],
        "link": tunnels["wg-a"]["device"],
        "mark": marks["vault"],
        "plain": marks["plain"],
    }
    with asking(host, witness, origin):
        until(lambda: right(host), "all is right before", within=60)
        begun = time.time()
        host.run("sh", "-ec", inject.format(**names)).check_returncode()

        try:
            code, told = verified_until(host, begun, lambda told: reason in told["misrouted"], "it is found", 60)
        finally:
            host.run("sh", "-ec", undo.format(**names))
        undone = time.time()

        def recovered() -> bool:
            with clients.connected(host.lab, origin, 80) as client:
                headers = [host.token(role="admin"), witness.secret]
                return client.ask("/", host="records.example", headers=headers).status == 200

        until(recovered, "requests go through again", within=60)

    assert (code, told["judgement"]) == (1, "wrong")
    sides = next(one for one in told["findings"] if one["reason"] == reason)
    assert sides["decided"] != sides["observed"]
    assert f'pointsman_misrouted_total{{reason="{reason}"}} 0.0' not in metrics(host)
    assert witness.leaked() == 0
    assert time.time() - undone < 60


def metrics(host: Steered) -> str:
    control = str(host.lab.runtime / "control.sock")
    return host.run("curl", "-s", "--unix-socket", control, "http://x/metrics").stdout


def uncounted(told: dict[str, Any]) -> set[str]:
    """The tunnels whose own counters cannot tell; late turns, and requests that went with their tunnel, are apart."""
    tunnels = {"wg-a", "wg-b", "ovpn-c"}
    return {name for name in tunnels for what in told["unknown"] if what.startswith(f"{name}: it ")}


def test_a_deleted_tunnel_leaves_nothing_proven_and_nothing_leaves_in_the_clear(
    host: Steered, witness: Witness
) -> None:
    link = next(tunnel["device"] for tunnel in host.status()["tunnels"] if tunnel["name"] == "wg-a")
    with asking(host, witness) as seen:
        until(lambda: right(host), "all is right before", within=60)
        begun = time.time()
        host.run("ip", "link", "del", link).check_returncode()
        code, told = verified_until(host, begun, lambda told: bool(told["unknown"]), "it is noted", PATIENCE)
        until(lambda: right(host), "all is right again", within=60)

    assert (code, told["judgement"], told["misrouted"]) == (1, "unknown", {})
    assert uncounted(told) <= {"wg-a"}
    assert seen["200"] > 100
    assert witness.leaked() == 0


def test_a_change_of_policy_ends_what_it_decides_otherwise_and_nothing_else(host: Steered, witness: Witness) -> None:
    rules = yaml.safe_load(POLICY.read_text())["rules"]
    records = 'destination.name == "records"'
    narrowed = [
        {"name": "no-watching", "when": f'{records} && request.path == "/shop.Store/Watch"', "deny": True},
        *({**rule, "profile": "payments"} if rule["name"] == "echo-of-1000" else rule for rule in rules),
    ]
    secret, said = witness.secret, witness.canary.decode()
    admin = host.token(sub="ada", role="admin")
    (host.lab.node / "narrowed.yaml").write_text(policy_text(rules=narrowed))
    before = host.status()["counts"]

    def watch(client: clients.Client, path: str) -> clients.Answer:
        return client.ask(path, host="records.example", headers=[admin, secret], body=said)

    def hanging(port: int) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-c", _HANGING, "198.51.100.80", str(port), said]
        process = subprocess.Popen(on.command(host.lab, world.INSTANCE, argv), stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        return process

    with (
        clients.connected(host.lab, SHARED[0], 50051, "call") as ending,
        clients.connected(host.lab, SHARED[0], 50051, "call") as staying,
        clients.connected(host.lab, SHARED[0], 80, "websocket") as socket,
    ):
        calls = [watch(ending, "/shop.Store/Watch"), watch(staying, "/shop.Store/Follow")]
        opened = socket.ask("/ws", host="records.example", headers=[admin, secret])
        flows = hanging(7000), hanging(7001)
        told = host.lab.runtime / "proxy" / "running.log"
        until(lambda: told.read_text().count("/shop.Store/") >= 2, "the calls are known to run")
        host.tell("policy", "apply", str(host.lab.node / "narrowed.yaml"))
        applied = time.monotonic()
        flows[0].wait(PATIENCE)
        flow_took = time.monotonic() - applied
        ended = watch(ending, "")
        call_took = time.monotonic() - applied
        again = watch(staying, ""), socket.ask("", host="", body=said)
        other = flows[1].poll()
        flows[1].kill()
        flows[1].wait()

    assert [call.status for call in calls] + [opened.status] == [0, 0, 101]
    assert ended.status == GRPC_UNAVAILABLE
    assert (flow_took < 5, call_took < 5) == (True, True), (flow_took, call_took)
    assert ([again[0].status, again[1].body, other]) == [0, said, None]
    after = host.status()["counts"]
    assert (after["ended"] - before["ended"], after["misrouted"] - before["misrouted"]) == (2, 0)
    assert witness.leaked() == 0


def test_a_connection_that_began_while_the_glass_was_broken_is_found_and_reset(host: Steered) -> None:
    before = host.status()["counts"]["misrouted"]
    host.tell("break-glass", "--for", "60s", "--reason", "a drill")
    argv = [sys.executable, "-c", _HANGING, "198.51.100.80", "7001", "in the clear"]
    with subprocess.Popen(on.command(host.lab, world.INSTANCE, argv), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        begun = time.time()
        host.tell("break-glass", "--end")
        process.wait(PATIENCE)
    until(
        lambda: "escaped" in evidence_of(host.lab.runtime, begun, time.time())["misrouted"],
        "it is shown",
        within=PATIENCE,
    )

    assert host.status()["counts"]["misrouted"] == before + 1
