"""Opened on purpose, and closed again: the broken glass, `down`, what nobody confirms, observing."""

import json
import sys
import time
from collections.abc import Iterator

import pytest

from pointsman.lab import clients, world
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.lab.watch import Witness
from tests.lab.steered import PATIENCE, POLICY, SHARED, Steered, routes, status_of, steering


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


def test_the_broken_glass_opens_and_closes_by_itself(host: Steered, witness: Witness) -> None:
    no_reason = host.run("pointsman", "break-glass", "--for", "5s", "--reason", " ")
    host.tell("break-glass", "--for", "5s", "--reason", "a drill")
    opened = (witness.control(), host.status()["state"])
    until(lambda: witness.control() == 0, "the glass is closed", within=PATIENCE)

    assert no_reason.returncode == 1
    assert opened == (3, "break-glass")
    until(lambda: host.status()["state"] == "open", "the agent knows", within=PATIENCE)
    assert status_of(host, "records.example", witness.secret) == 403


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
        held = client.ask("/", host="public.example", headers=[witness.secret])

    assert free["source"] == world.seen_as("direct")[0]
    assert held.status == 0


def test_down_leaves_the_host_as_it_was_before(host: Steered, witness: Witness) -> None:
    host.tell("down")
    host.agent.wait(20)
    bare = dump(host)
    assert witness.control() == 3

    file = str(host.lab.node / "node.yaml")
    told = host.json("close", "-c", file), host.json("close", "-c", file)
    closed = (witness.control(), status_of(host, "public.example", witness.secret))
    host.restart()
    steered = (witness.control(), status_of(host, "public.example"), status_of(host, "records.example", witness.secret))
    changed = dump(host)
    host.tell("down")
    host.agent.wait(20)

    assert told == ({"installed": True}, {"installed": False})
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
        "routes": routes(host),
        "rules": "".join(host.run("ip", family, "rule").stdout for family in ("-4", "-6")),
        "nftables": host.run("nft", "list", "ruleset").stdout,
        "links": host.run("ip", "-o", "link").stdout,
        "addresses": host.run("ip", "-o", "address").stdout.replace("forever", ""),
        "sysctls": "\n".join(line for line in sysctls if not any(name in line for name in _MOVING)),
    }
