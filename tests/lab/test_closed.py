"""Closed by default in every state: what leaves when parts of the host die, are changed or are taken down."""

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

from pointsman.lab import clients, world
from pointsman.lab import exec as on
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.lab.watch import Witness
from tests.lab.steered import PATIENCE, POLICY, SHARED, Steered, steering

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
    secret = ["x-canary", witness.canary.decode()]
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


def status_of(host: Steered, name: str, *headers: tuple[str, str]) -> int:
    """Ask once on a new connection and return the status; 0 where the connection was refused."""
    with clients.connected(host.lab, SHARED[0], 80) as client:
        return client.ask("/", host=name, headers=list(headers)).status


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
    secret = ("x-canary", witness.canary.decode())
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
    secret = ("x-canary", witness.canary.decode())
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
    secret = ("x-canary", witness.canary.decode())
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


def test_the_broken_glass_opens_and_closes_by_itself(host: Steered, witness: Witness) -> None:
    no_reason = host.run("pointsman", "break-glass", "--for", "5s", "--reason", " ")
    host.tell("break-glass", "--for", "5s", "--reason", "a drill")
    opened = (witness.control(), host.status()["state"])
    until(lambda: witness.control() == 0, "the glass is closed", within=PATIENCE)

    assert no_reason.returncode == 1
    assert opened == (3, "break-glass")
    until(lambda: host.status()["state"] == "open", "the agent knows", within=PATIENCE)
    assert status_of(host, "records.example") == 403


def test_the_kernel_closes_the_glass_where_no_agent_is_left(host: Steered, witness: Witness) -> None:
    host.tell("break-glass", "--for", "5s", "--reason", "a drill")
    begun = time.monotonic()
    host.kill()
    assert witness.control() == 3

    until(lambda: witness.control() == 0, "the glass is closed", within=PATIENCE)
    assert time.monotonic() - begun < 8
    host.restart()
    assert (witness.control(), host.status()["state"]) == (0, "open")


def test_the_glass_can_be_closed_before_its_time(host: Steered, witness: Witness) -> None:
    host.tell("break-glass", "--for", "1h", "--reason", "a drill")
    assert witness.control() == 3
    host.tell("break-glass", "--end", "--reason", "done")
    assert (witness.control(), host.status()["state"]) == (0, "open")


def test_connections_open_at_the_broken_glass_do_not_outlive_it(host: Steered, witness: Witness) -> None:
    host.tell("break-glass", "--for", "1h", "--reason", "a drill")
    with clients.connected(host.lab, SHARED[0], 80, uid=1000) as client:
        free = client.ask("/", host="public.example").json()
        host.tell("break-glass", "--end", "--reason", "done")
        held = client.ask("/", host="public.example", headers=[("x-canary", witness.canary.decode())])

    assert free["source"] == world.seen_as("direct")[0]
    assert held.status == 0


# From here on agents come and go.


def test_down_leaves_the_host_as_it_was_before(host: Steered, witness: Witness) -> None:
    host.tell("down")
    host.agent.wait(20)
    bare = dump(host)
    assert witness.control() == 3

    file = str(host.lab.node / "node.yaml")
    host.tell("close", "-c", file)
    closed = (witness.control(), status_of(host, "public.example", ("x-canary", witness.canary.decode())))
    host.restart()
    steered = (witness.control(), status_of(host, "public.example"), status_of(host, "records.example"))
    changed = dump(host)
    host.tell("down")
    host.agent.wait(20)

    assert (closed, steered) == ((0, 0), (0, 200, 403))
    assert {part for part in bare if bare[part] != changed[part]} >= {"routes", "rules", "nftables", "links"}
    assert dump(host) == bare
    assert witness.control() == 3
    assert host.daemons().keys() <= {"python", "python3"}
    host.restart()


def test_down_works_where_no_agent_is_left(host: Steered, witness: Witness) -> None:
    host.kill()
    host.tell("down")

    left = dump(host)
    assert (left["nftables"], "lookup 71" in left["rules"]) == ("", False)
    assert witness.control() == 3
    host.restart()
    assert witness.control() == 0


def test_down_needs_no_file_but_the_node_file_and_tells_all_that_failed(host: Steered, witness: Witness) -> None:
    files = [file for file in host.lab.node.iterdir() if file.suffix in (".conf", ".ovpn")]
    made = host.lab.runtime / "made"
    host.kill()
    made.mkdir(exist_ok=True)
    for name in ("gw-1", "gw-2"):
        (made / f"{name}.json").write_text("{")
    for file in files:
        file.rename(file.with_suffix(".gone"))
    try:
        done = host.run("pointsman", "down")
    finally:
        for file in files:
            file.with_suffix(".gone").rename(file)

    assert (len(files) > 1, done.returncode) == (True, 0)
    assert [name in done.stderr for name in ("gw-1.json", "gw-2.json")] == [True, True]
    left = dump(host)
    assert (left["nftables"], "lookup 71" in left["rules"], list(made.iterdir())) == ("", False, [])
    assert host.daemons().keys() <= {"python", "python3"}
    assert not (host.lab.runtime / "names.json").exists()
    assert witness.control() == 3
    host.restart()


def test_what_is_not_confirmed_undoes_itself(host: Steered, witness: Witness) -> None:
    host.tell("down")
    host.agent.wait(20)
    before = dump(host)
    host.restart("--confirm-within", "4s")
    assert (witness.control(), host.status()["confirm_within"] > 0) == (0, True)

    host.agent.wait(PATIENCE)

    assert dump(host) == before
    assert witness.control() == 3
    host.restart("--confirm-within", "4s")
    host.tell("confirm")
    time.sleep(6)  # nothing is to happen
    assert (host.agent.poll(), host.status()["confirm_within"], witness.control()) == (None, None, 0)


def test_what_is_not_confirmed_undoes_itself_under_the_next_agent(host: Steered, witness: Witness) -> None:
    host.tell("down")
    host.agent.wait(20)
    host.restart("--confirm-within", "6s")
    host.kill()
    host.restart()
    host.agent.wait(PATIENCE)

    assert witness.control() == 3
    host.restart()


def test_observing_holds_nothing_and_records_what_would_be(host: Steered, witness: Witness) -> None:
    host.tell("down")
    host.agent.wait(20)
    host.restart("--observe")

    passed = status_of(host, "records.example"), status_of(host, "public.example")
    assert (witness.control(), host.status()["state"], passed) == (3, "observe", (200, 200))

    def seen() -> set[str]:
        lines = (host.lab.runtime / "proxy" / "decisions.log").read_text().splitlines()
        return {str(json.loads(line).get("rule")) for line in lines[-2:]}

    until(lambda: seen() == {"default", "public-read"}, "both are on record", within=PATIENCE)
    guard = host.status()["guard"]
    assert guard["dropped_frames"]["packets"] > 0


def _routing(host: Steered) -> str:
    listed = [host.run("ip", family, "rule").stdout for family in ("-4", "-6")]
    return "".join(listed) + "".join(sorted(_routes(host).splitlines(keepends=True)))


def _routes(host: Steered) -> str:
    lines = [host.run("ip", family, "route", "show", "table", "all").stdout for family in ("-4", "-6")]
    return "".join(line.partition(" expires")[0] + "\n" for line in "".join(lines).splitlines())


_SYSCTLS = """
import os
for folder, _, files in sorted(os.walk("/proc/sys/net")):
    for name in sorted(files):
        try: print(os.path.join(folder, name), open(os.path.join(folder, name)).read().strip())
        except OSError: pass
"""
_MOVING = ("nf_conntrack_count", "nf_log", "nf_conntrack_buckets")


def dump(host: Steered) -> dict[str, str]:
    """Return everything of the host's network that we may have changed."""
    sysctls = host.run(sys.executable, "-I", "-c", _SYSCTLS).stdout.splitlines()
    return {
        "routes": _routes(host),
        "rules": "".join(host.run("ip", family, "rule").stdout for family in ("-4", "-6")),
        "nftables": host.run("nft", "list", "ruleset").stdout,
        "links": host.run("ip", "-o", "link").stdout,
        "addresses": host.run("ip", "-o", "address").stdout.replace("forever", ""),
        "sysctls": "\n".join(line for line in sysctls if not any(name in line for name in _MOVING)),
    }
