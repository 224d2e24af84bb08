"""The edge to queueing disciplines, against a real kernel in a network namespace of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pointsman.lab import spaces

# Everything that is done in the namespace is one process: it says what it found.
_TURN = """
from pointsman.dataplane.queues import queue_steps
from pointsman.model.queues import REST, WHOLE, Discipline, Queue
from pointsman.system.queues import apply_queues, observe_queues
def tree(device, *more):
    return {Discipline(device), Queue(device, WHOLE, 10**6, 10**6, 0), Queue(device, REST, 10**5, 10**6, 2), *more}
quick, bulk = Queue("pma", 2, 200_000, 10**6, 1), Queue("pma", 3, 10_000, 500_000, 3)
want = frozenset({*tree("pma", quick, bulk), *tree("eth0")})
def turn(want):
    steps = queue_steps(frozenset(want), observe_queues())
    return [len(steps), *(f"{fault.label}: {fault.why}" for fault in apply_queues(steps))]
"""


@pytest.fixture
def space() -> Iterator[str]:
    if os.geteuid() != 0:
        pytest.fail("network namespaces need root")
    with spaces.space("queues") as name:
        for mine, peer in (("pma", "other"), ("eth0", "far")):
            run(name, "ip", "link", "add", mine, "type", "veth", "peer", "name", peer)
        yield name


def run(space: str, *argv: str) -> str:
    command = ["nsenter", f"--net=/run/netns/{space}", *argv]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def turn(space: str, code: str) -> str:
    return run(space, sys.executable, "-c", _TURN + code).strip()


def dump(space: str) -> str:
    return run(space, "tc", "qdisc") + "".join(run(space, "tc", "class", "show", "dev", d) for d in ("pma", "eth0"))


def test_one_turn_is_enough_and_the_kernel_has_what_was_wanted(space: str) -> None:
    assert turn(space, "print(turn(want), observe_queues() == want, turn(want))") == "[8] True [0]"
    assert "class htb 7112:2 parent 7112:fffe prio 1 rate 1600Kbit ceil 8Mbit" in dump(space)


def test_a_change_reaches_one_class_and_leaves_the_others(space: str) -> None:
    code = "turn(want); less = want - {bulk, quick} | {Queue('pma', 2, 300_000, 10**6, 1)}; "
    assert turn(space, code + "print(turn(less), observe_queues() == less)") == "[2] True"


def test_what_others_removed_is_put_back(space: str) -> None:
    turn(space, "turn(want)")
    run(space, "tc", "class", "del", "dev", "pma", "classid", "7112:3")
    run(space, "tc", "qdisc", "del", "dev", "eth0", "root")

    assert turn(space, "print(turn(want), observe_queues() == want)") == "[4] True"


def test_taken_away_the_device_is_as_it_was(space: str) -> None:
    before = dump(space)
    assert turn(space, "print(turn(want), turn(()))") == "[8] [2]"
    assert dump(space) == before


def test_a_discipline_of_somebody_else_stays_and_holds_up_no_other_device(space: str) -> None:
    run(
        space,
        "tc",
        "qdisc",
        "add",
        "dev",
        "eth0",
        "root",
        "handle",
        "1:",
        "tbf",
        "rate",
        "1mbit",
        "burst",
        "5k",
        "limit",
        "9k",
    )
    before = run(space, "tc", "qdisc", "show", "dev", "eth0")

    told = turn(space, "print(turn(want), sorted({part.device for part in observe_queues()}))")

    assert told == "[8, 'queue-refused: it has a discipline of somebody else'] ['pma']"
    turn(space, "turn(())")
    assert run(space, "tc", "qdisc", "show", "dev", "eth0") == before


def test_a_device_that_is_not_there_is_passed_over(space: str) -> None:
    run(space, "ip", "link", "del", "eth0")

    assert turn(space, "print(turn(want), {part.device for part in observe_queues()})") == "[8] {'pma'}"
