"""The edge to translated connections, against a real kernel that redirects, in a network namespace of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from pointsman.lab import spaces

# Two connections from one port to two destinations are redirected to one door; the kernel tells them apart by another
# port for the second. Then the first ends, and the same again.
_TURN = """
import json, os, socket, sys
from pointsman.system import connections, translations
six = sys.argv[1] == "6"
family, mine, here = (socket.AF_INET6, "2001:db8::10", "::1") if six else (socket.AF_INET, "192.0.2.10", "127.0.0.1")
away = ["2001:db8:1::1", "2001:db8:1::2"] if six else ["198.51.100.1", "198.51.100.2"]
door = socket.create_server((here, 20000), family=family)
def called(to):
    line = socket.socket(family)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    os.fchown(line.fileno(), 2001, 2001)
    line.bind((mine, 5000)); line.connect((to, 80))
    served, peer = door.accept()
    return line, served, tuple(peer[:2])
one, two = called(away[0]), called(away[1])
ends = [((mine, 5000), (to, 80)) for to in away]
print(json.dumps({
    "ports": [one[2][1] == 5000, two[2][1] == 5000],
    "led": [translations.redirected_to(*end) == (here, 20000) for end in ends],
    "callers": [translations.caller_of((here, 20000), line[2]) == end for line, end in zip((one, two), ends)],
    "owners": [translations.owner(line[2], end[1]) for line, end in zip((one, two), ends)],
    "others": [translations.owner(two[2], ends[0][1]), translations.redirected_to((mine, 5001), (away[0], 80)),
               translations.caller_of((here, 20000), (mine, 5001))],
}))
"""


@pytest.fixture
def space() -> Iterator[str]:
    if os.geteuid() != 0:
        pytest.fail("network namespaces need root")
    with spaces.space("translations") as name:
        for words in (
            ("link", "set", "lo", "up"),
            ("link", "add", "eth0", "type", "veth", "peer", "name", "other"),
            ("address", "add", "192.0.2.10/24", "dev", "eth0"),
            ("address", "add", "2001:db8::10/64", "dev", "eth0", "nodad"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "other", "up"),
            ("route", "add", "default", "dev", "eth0"),
            ("-6", "route", "add", "default", "dev", "eth0"),
        ):
            run(name, "ip", *words)
        run(
            name,
            "nft",
            "add table inet t { chain o { type nat hook output priority -100; tcp dport 80 redirect to :20000; }; }",
        )
        yield name


def run(space: str, *argv: str) -> str:
    command = ["nsenter", f"--net=/run/netns/{space}", *argv]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("family", ["4", "6"])
def test_a_connection_is_found_again_on_its_other_side_whatever_port_the_kernel_gave_it(
    space: str, family: str
) -> None:
    told: dict[str, Any] = json.loads(run(space, sys.executable, "-c", _TURN, family))

    assert told["ports"] == [True, False]
    assert told["led"] == told["callers"] == [True, True]
    assert told["owners"] == [2001, 2001]
    assert told["others"] == [None, None, None]
