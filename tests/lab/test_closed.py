"""Closed by default in every state: what leaves when parts of the host die or are changed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pointsman.lab import exec as on
from pointsman.lab import world
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.lab.watch import Witness
from tests.lab.steered import PATIENCE, POLICY, SHARED, Steered, routes, status_of, steering

ROOT_TABLES = ("inet pointsman", "netdev pointsman_frames")


@pytest.fixture(scope="module")
def steered(lab: Lab, witness: Witness) -> Iterator[Steered]:
    with steering(lab, POLICY) as made:
        yield made


@pytest.fixture
def host(steered: Steered) -> Steered:
    """The host, steered, also where the test before left it without an agent."""
    if steered.agent.poll() is not None:
        steered.restart()
    return steered


# One keep-alive connection, request after request until its input ends. Says how many were answered, and what failed.
_LOOP = """
import encodings.idna, http.client, json, os, sys, threading, time
address, asks = sys.argv[1], json.loads(sys.argv[2])
os.setgroups([]); os.setresgid(1000, 1000, 1000); os.setresuid(1000, 1000, 1000)
line = http.client.HTTPConnection(address, 80, timeout=20)
line.connect(); line.auto_open = 0
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
asked, failed, slowest = 0, [], 0.0
while not ended.is_set():
    path, headers, source = asks[asked % len(asks)]
    begun = time.monotonic()
    try:
        line.request("GET", path, headers=dict(headers))
        answer = line.getresponse(); body = answer.read()
        if answer.status != 200 or json.loads(body)["source"] != source:
            failed.append([asked, answer.status, body.decode()])
    except OSError as error:
        failed.append([asked, 0, repr(error)]); break
    slowest = max(slowest, time.monotonic() - begun)
    if asked == 0: print("begun", flush=True)
    asked += 1
    time.sleep(0.01)
print(json.dumps({"asked": asked, "failed": failed, "slowest": slowest}), flush=True)
"""


@contextmanager
def asking(host: Steered, witness: Witness) -> Iterator[dict[str, Any]]:
    """Ask through three tunnels, without end, while the block runs. The answer is filled in at its end."""
    secret = witness.secret
    asks = [
        ("/patients", [("Host", "records.example"), host.token(role="admin"), secret], world.seen_as("wg-a")[0]),
        ("/news", [("Host", "public.example")], world.seen_as("direct")[0]),
        ("/charge", [("Host", "pay.example"), host.token(role="clerk"), secret], world.seen_as("ovpn-c")[0]),
    ]
    argv = on.command(host.lab, world.INSTANCE, [sys.executable, "-c", _LOOP, SHARED[0], json.dumps(asks)])
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    result: dict[str, Any] = {}
    try:
        yield result
    finally:
        told, _ = process.communicate("", timeout=60)
        result.update(json.loads(told.splitlines()[-1]))


def test_traffic_goes_on_without_the_agent_and_the_next_one_adopts_all_of_it(host: Steered, witness: Witness) -> None:
    before = host.daemons()
    marks = [profile["mark"] for profile in host.status()["profiles"]]

    with asking(host, witness) as asked:
        host.kill()
        time.sleep(1.0)  # the state to be looked at is that there is no agent
        gone = host.run("pointsman", "status")
        host.restart()
    after = host.daemons()

    assert gone.returncode == 3
    assert asked["failed"] == []
    assert asked["asked"] > 20
    assert {name: after[name] for name in ("envoy", "wireguard-go", "openvpn")} == {
        name: before[name] for name in ("envoy", "wireguard-go", "openvpn")
    }
    assert [profile["mark"] for profile in host.status()["profiles"]] == marks


def test_an_agent_that_is_told_to_end_leaves_the_host_steered(host: Steered, witness: Witness) -> None:
    with asking(host, witness) as asked:
        host.kill(signal.SIGTERM)
        assert witness.control() == 0
        host.restart()

    assert asked["failed"] == []


def test_a_killed_proxy_is_back_soon_and_nothing_leaves_meanwhile(host: Steered, witness: Witness) -> None:
    secret = witness.secret
    headers = [host.token(role="admin"), secret]
    before = host.status()["proxy"]["pid"]
    os.kill(before, signal.SIGKILL)
    killed = time.monotonic()

    statuses = []
    while not statuses or statuses[-1] != 200:
        statuses.append(status_of(host, "records.example", *headers))
        assert time.monotonic() - killed < PATIENCE
    took = time.monotonic() - killed

    assert set(statuses) <= {0, 200}
    assert took < 3
    assert host.status()["proxy"]["pid"] != before


def test_a_killed_tunnel_stops_its_profile_alone_and_comes_back(host: Steered, witness: Witness) -> None:
    secret = witness.secret
    admin, clerk = host.token(role="admin"), host.token(role="clerk")
    assert status_of(host, "records.example", admin, secret) == 200
    pid = int((host.lab.runtime / "tunnels" / "wg-a" / "pid").read_text().split()[0])

    os.kill(pid, signal.SIGKILL)
    dead = status_of(host, "records.example", admin, secret)
    others = [status_of(host, "records.example", clerk, secret), status_of(host, "public.example")]

    assert (dead, others) == (503, [200, 200])
    until(lambda: status_of(host, "records.example", admin, secret) == 200, "the tunnel is back", within=PATIENCE)
    assert int((host.lab.runtime / "tunnels" / "wg-a" / "pid").read_text().split()[0]) != pid


# Fails where there was nothing to remove
_EACH_RULE = (
    "set -- $(ip {family} rule | sed -n 's/^\\(7[0-9]*\\):.*/\\1/p'); test $# -gt 0;"
    " for p; do ip {family} rule del pref $p; done"
)
_EACH_ROUTE = (
    'for t in {tables}; do test -n "$(ip route show table $t)";'
    " ip route flush table $t; ip -6 route flush table $t; done"
)
FOREIGN = {
    "rules": _EACH_RULE.format(family="-4"),
    "rules of IPv6": _EACH_RULE.format(family="-6"),
    "routes": _EACH_ROUTE,
    "link": "ip link del {link}",
    "address": "ip address flush dev {link}",
    "link down": "ip link set {link} down",
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_others_remove_is_put_back_and_nothing_leaves_meanwhile(
    host: Steered, witness: Witness, what: str
) -> None:
    secret = witness.secret
    admin = host.token(role="admin")
    host.until_up()
    tunnels = host.status()["tunnels"]
    link = next(tunnel["device"] for tunnel in tunnels if tunnel["name"] == "wg-a")
    tables = " ".join(str(tunnel["table"]) for tunnel in tunnels if tunnel["kind"] != "direct")
    before = _routing(host)
    done = host.run("sh", "-ec", FOREIGN[what].replace("{link}", link).replace("{tables}", tables))
    assert done.returncode == 0, done.stderr

    removed = time.monotonic()
    meanwhile = status_of(host, "records.example", admin, secret)
    until(lambda: status_of(host, "records.example", admin, secret) == 200, "it is put back", within=PATIENCE)
    took = time.monotonic() - removed
    until(lambda: _routing(host) == before, "rules and routes are as before", within=PATIENCE)

    assert meanwhile in (200, 503)
    assert took < 10  # five seconds may go by in an attempt to connect


@pytest.mark.parametrize("table", ROOT_TABLES)
def test_a_guard_that_others_remove_is_put_back(host: Steered, witness: Witness, table: str) -> None:
    def there() -> bool:
        return all(host.run("nft", "list", "table", *each.split()).returncode == 0 for each in ROOT_TABLES)

    host.run("nft", "delete", "table", *table.split())
    removed = time.monotonic()
    until(there, "the guard is back", within=PATIENCE)

    assert time.monotonic() - removed < 5
    assert witness.control() == 0
    assert status_of(host, "public.example") == 200


def test_a_chain_that_others_change_is_put_back(host: Steered, witness: Witness) -> None:
    host.run("nft", "insert", "rule", "inet", "pointsman", "final", "accept")

    def mended() -> bool:
        return "accept\n\t\toifname" not in host.run("nft", "list", "chain", "inet", "pointsman", "final").stdout

    until(mended, "the chain is as it was", within=5)
    assert witness.control() == 0


def test_a_second_agent_is_refused(host: Steered) -> None:
    second = host.run("pointsman", "up", "-c", str(host.lab.node / "node.yaml"))

    assert (second.returncode, "another one runs here" in second.stderr) == (4, True)
    assert status_of(host, "public.example") == 200


def _routing(host: Steered) -> str:
    listed = [host.run("ip", family, "rule").stdout for family in ("-4", "-6")]
    return "".join(listed) + "".join(sorted(routes(host).splitlines(keepends=True)))
