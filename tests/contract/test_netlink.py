"""The edge to routes and rules, against a real kernel in a network namespace of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pointsman.lab import spaces

# Everything that is done in the namespace is one process: it says what it found, as JSON.
_TURN = """
import sys
from pointsman.dataplane.routing import routing_steps, want_routing
from pointsman.model.profile import Level
from pointsman.model.routing import Put, Routing
from pointsman.model.tunnel import Kind, Lane, State, Tunnel
from pointsman.system.netlink import apply_routing, observe_links, observe_routing
MASK = 0x3FF00000
def tunnel(name, table, device, *sources):
    return Tunnel(name, Kind.WIREGUARD, Level.STRONG, (), State.UP, device, sources, (), table, 1420)
tunnels = [tunnel("a", 7101, "pma", "10.71.0.2", "fd71::2"), tunnel("b", 7102, "pmb", "10.72.0.2"),
           tunnel("d", 254, "eth0", "192.0.2.10")]
lanes = [Lane("x", "a", 2 << 20, "pma", ()), Lane("y", "b", 3 << 20, "pmb", ()), Lane("z", "d", 4 << 20, "eth0", ())]
want = want_routing(tunnels, lanes, MASK)
def turn(want):
    steps = routing_steps(want, observe_routing())
    for step, fault in apply_routing(steps):
        raise fault
    return len(steps)
"""


@pytest.fixture
def space() -> Iterator[str]:
    if os.geteuid() != 0:
        pytest.fail("network namespaces need root")
    with spaces.space("netlink") as name:
        for mine, peer in (("pma", "pmb"), ("eth0", "other")):
            run(name, "ip", "link", "add", mine, "type", "veth", "peer", "name", peer)
        for device in ("lo", "pma", "pmb", "eth0", "other"):
            run(name, "ip", "link", "set", device, "up")
        run(name, "ip", "addr", "add", "192.0.2.10/24", "dev", "eth0")
        run(name, "ip", "route", "add", "default", "via", "192.0.2.1")
        yield name


def test_a_look_at_all_links_sees_what_a_look_at_each_does(space: str) -> None:
    code = "from pointsman.tunnels.drivers import link; found = link.look_at_all()\n"
    code += "print(sorted(found), all(link.look(name) == one for name, one in found.items()), found['eth0'].addresses)"

    said = turn(space, code)

    assert said == "['eth0', 'lo', 'other', 'pma', 'pmb'] True ('192.0.2.10',)"


def run(space: str, *argv: str) -> str:
    command = ["nsenter", f"--net=/run/netns/{space}", *argv]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def turn(space: str, code: str) -> str:
    return run(space, sys.executable, "-c", _TURN + code).strip()


def way(space: str, mark: int, target: str = "198.51.100.9", bound: str = "") -> str:
    """Return the device that a packet with this mark would take, or `unreachable`. Its socket may be `bound` to one."""
    asked = ["ip", "-j", "route", "get", target, "mark", hex(mark), *(["oif", bound] if bound else [])]
    command = ["nsenter", f"--net=/run/netns/{space}", *asked]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return json.loads(done.stdout)[0]["dev"] if done.returncode == 0 else "unreachable"


def dump(space: str) -> str:
    parts = ["rule"], ["-6", "rule"], ["route", "show", "table", "all"], ["-6", "route", "show", "table", "all"]
    return "".join(run(space, "ip", *part) for part in parts)


def test_one_turn_is_enough_and_marks_find_their_ways(space: str) -> None:
    assert turn(space, "print(turn(want), observe_routing() == want, turn(want))") == "14 True 0"
    assert [way(space, mark << 20) for mark in (2, 3, 4)] == ["pma", "pmb", "eth0"]
    assert way(space, 3 << 20, "2001:db8:2::9") == "unreachable"


def test_what_is_bound_to_a_tunnel_goes_into_it_or_nowhere_whatever_its_mark(space: str) -> None:
    run(space, "ip", "-6", "addr", "add", "2001:db8:1::10/64", "dev", "eth0", "nodad")
    run(space, "ip", "-6", "route", "add", "default", "via", "2001:db8:1::1", "dev", "eth0")
    turn(space, "turn(want)")
    marks = (2, 3, 4, 9, 0)

    assert [way(space, mark << 20, "2001:db8:2::9", "pma") for mark in marks] == ["pma"] * len(marks)
    assert [way(space, mark << 20, "2001:db8:2::9") for mark in (4, 9, 0)] == ["eth0"] * 3
    run(space, "ip", "link", "set", "pma", "down")
    assert {way(space, mark << 20, "2001:db8:2::9", "pma") for mark in marks} == {"unreachable"}


def test_every_step_may_be_carried_out_twice(space: str) -> None:
    code = "steps = routing_steps(want, Routing()); apply_routing(steps); apply_routing(steps); print(turn(want))"
    assert turn(space, code) == "0"
    code = (
        "steps = routing_steps(Routing(), want); apply_routing(steps); apply_routing(steps); print(observe_routing())"
    )
    assert turn(space, code) == "Routing(routes=frozenset(), rules=frozenset())"


def test_a_deleted_device_leaves_its_table_unreachable(space: str) -> None:
    turn(space, "turn(want)")
    run(space, "ip", "link", "del", "pma")

    assert (way(space, 2 << 20), way(space, 2 << 20, "2001:db8:2::9")) == ("unreachable", "unreachable")


def test_what_others_removed_is_put_back(space: str) -> None:
    turn(space, "turn(want)")
    run(space, "ip", "rule", "del", "fwmark", "0x200000/0x3ff00000")
    run(space, "ip", "route", "flush", "table", "7101")

    assert turn(space, "print(turn(want), observe_routing() == want)") == "3 True"
    assert way(space, 2 << 20) == "pma"


def test_a_tunnel_that_moves_to_another_device_leaves_no_old_way(space: str) -> None:
    code = "turn(want); t = tunnel('a', 7101, 'eth0', '10.71.0.2', 'fd71::2'); w = want_routing([t], lanes[:1], MASK); "
    assert turn(space, code + "turn(w); print(observe_routing() == w)") == "True"
    assert (way(space, 2 << 20), way(space, 2 << 20, "2001:db8:2::9")) == ("eth0", "eth0")


def test_what_is_not_ours_is_left_alone(space: str) -> None:
    run(space, "ip", "rule", "add", "fwmark", "0x77", "lookup", "7103", "pref", "7105")
    run(space, "ip", "route", "add", "203.0.113.0/24", "dev", "pmb", "table", "7103")
    before = dump(space)

    assert turn(space, "turn(want); print(turn(Routing()))") == "14"
    assert dump(space) == before


def test_a_missing_device_is_a_fault_with_its_name_and_holds_up_nothing_else(space: str) -> None:
    code = """
t = [tunnel("a", 7101, "gone0", "10.71.0.2"), tunnels[1], tunnels[2]]
for step, fault in apply_routing(routing_steps(want_routing(t, lanes, MASK), observe_routing())):
    print(fault.label, fault.why)
"""
    assert turn(space, code) == "device-missing there is no device `gone0`"
    assert [way(space, mark << 20) for mark in (2, 3, 4)] == ["unreachable", "pmb", "eth0"]


def test_links_are_seen_with_their_addresses(space: str) -> None:
    code = "print([(link.name, link.up) for link in observe_links()], '192.0.2.10' in observe_links()[0].addresses)"
    assert turn(space, code) == "[('eth0', True), ('other', True), ('pma', True), ('pmb', True)] True"


def test_the_kernel_is_asked_by_which_device_a_mark_would_leave(space: str) -> None:
    code = """
import json, subprocess
from pointsman.system.netlink import ways_of
turn(want)
origin, six = "198.51.100.80", "2001:db8:2::80"
packets = [(2 << 20, origin), (4 << 20, origin), (2 << 20, six), (4 << 20, six)]
before = ways_of(packets, 64001)
subprocess.run("ip route add 198.51.100.80/32 dev eth0 table 7101; ip rule add pref 9 fwmark 0x400000 lookup 7102",
               shell=True, check=True)
print(json.dumps([before, ways_of(packets, 64001)]))
"""
    before, after = json.loads(run(space, sys.executable, "-c", _TURN + code))

    assert before == ["pma", "eth0", "pma", ""]
    assert after[:3] == ["eth0", "pmb", "pma"]
