"""Random diagrams and destinations: the entry that real connections reach is the one that the diagram decides."""

import json
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from pointsman.dataplane.capture import compile_capture
from pointsman.dataplane.entries import plan
from pointsman.dataplane.guard import GuardSpec
from pointsman.model.diagram import Branch, Leaf, Listing, Node, Switch
from pointsman.model.entry import Mode
from pointsman.model.formula import TRUE, And, AtLeast, Atom, Const, Equals, Formula, Not, Or, Within
from pointsman.model.policy import Destination, Ports

USERS = (0, 2001, 2002, 65000)
ADDRESSES = (
    "198.51.100.9",
    "198.51.100.200",
    "192.0.2.1",
    "203.0.113.7",
    "2001:db8:2::9",
    "2001:db8:2:1::1",
    "2001:db8:9::1",
)
NETWORKS = ("198.51.100.0/24", "198.51.100.0/28", "198.51.100.9/32", "203.0.113.0/24", "192.0.0.0/8", "2001:db8:2::/48",
            "2001:db8::/32", "2001:db8:2::9/128")  # fmt: skip
TESTED = (80, 443, 7000, 7001, 65535)
CLUSTERS = ("", "gold@a", "plain@direct", "missing@b")
ENTRIES = plan([2001, 2002], ["gold@a", "plain@direct"], [Mode.HTTP, Mode.AUTO, Mode.TCP])
MODES: list[tuple[Mode, Ports]] = [
    (Mode.HTTP, ((80, 80),)),
    (Mode.AUTO, ((443, 443), (7000, 7000))),
    (Mode.TCP, ((7001, 65535),)),
]
_ASK = """
import json, os, socket, sys
found = []
for uid, address, port in json.load(sys.stdin):
    os.seteuid(uid)
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as talk:
        talk.settimeout(3)
        try: talk.connect((address, port)); found.append(talk.recv(100).decode())
        except OSError as error: found.append(type(error).__name__)
    os.seteuid(0)
print(json.dumps(found))
"""


def atom(dice: random.Random) -> Atom:
    kind = dice.randrange(5)
    if kind == 0:
        return Atom("destination.address", Within(dice.choice([n for n in NETWORKS if n != "192.0.0.0/8"])))
    if kind == 1:
        return Atom("destination.address", Equals(dice.choice(ADDRESSES)))
    if kind == 2:
        return Atom("destination.port", AtLeast(dice.choice((*TESTED, 0, 70000))))
    if kind == 3:
        return Atom("process.uid", AtLeast(dice.choice((0, 1, 2002, 2**32 - 1))))
    return Atom("process.uid", Equals(dice.choice(USERS)))


def formula(dice: random.Random, depth: int) -> Formula:
    if depth == 0:
        return atom(dice)
    parts = tuple(formula(dice, depth - 1) for _ in range(2))
    return dice.choice((And(parts), Or(parts), Not(parts[0]), atom(dice)))


def tree(dice: random.Random, depth: int) -> Node:
    if depth == 0 or dice.random() < 0.15:
        return Leaf(dice.randrange(len(CLUSTERS)))
    below = lambda: tree(dice, depth - 1)  # noqa: E731
    kind = dice.randrange(6)
    if kind == 0:
        return Switch("destination.port", {p: below() for p in dice.sample(TESTED, 3)}, below(), below())
    if kind == 1:
        return Switch("process.uid", {u: below() for u in dice.sample(USERS, 2)}, below(), below())
    if kind == 2:
        return Switch("destination.address", {a: below() for a in dice.sample(ADDRESSES, 3)}, below(), below())
    if kind == 3:
        return Switch("request.method", {"GET": below()}, below(), below())
    if kind == 4:
        return Listing((*((formula(dice, 2), below()) for _ in range(3)), (TRUE, below())))
    return Branch(atom(dice), below(), below(), below())


def destinations(dice: random.Random) -> list[Destination]:
    return [
        Destination(name, addresses=tuple(dice.sample(NETWORKS[:4] + NETWORKS[5:], 2)), ports=ports)
        for name, ports in (("a", ()), ("b", ((7000, 7100),)), ("c", ((80, 80), (443, 7000))))
    ]


def holds(condition: Formula, facts: dict[str, int | str]) -> bool:
    match condition:
        case Const(value):
            return value
        case Not(part):
            return not holds(part, facts)
        case And(parts):
            return all(holds(part, facts) for part in parts)
        case Or(parts):
            return any(holds(part, facts) for part in parts)
        case Atom(name, Equals(value)):
            return facts[name] == value
        case Atom(name, AtLeast(bound)):
            return int(facts[name]) >= bound
        case Atom(name, Within(network)):
            return ip_address(facts[name]) in ip_network(network)
    raise AssertionError(condition)


def decide(node: Node, facts: dict[str, int | str]) -> int:
    match node:
        case Leaf(rule):
            return rule
        case Switch(name, cases, other, absent):
            return decide(absent if name not in facts else cases.get(facts[name], other), facts)
        case Branch(test, yes, no, _):
            return decide(yes if holds(test, facts) else no, facts)
        case Listing(entries):
            return decide(next(then for condition, then in entries if holds(condition, facts)), facts)
    raise AssertionError(node)


def fitting(given: list[Destination], address: str, port: int) -> tuple[str, ...]:
    return tuple(
        item.name
        for item in given
        if any(ip_address(address) in ip_network(network) for network in item.addresses)
        and (not item.ports or any(low <= port <= high for low, high in item.ports))
    )


def expected(uid: int, port: int, cluster: str) -> int:
    mode = next(mode for mode, ranges in MODES if any(low <= port <= high for low, high in ranges))
    lane = "" if mode is Mode.HTTP or cluster == "missing@b" else cluster
    ports = {entry.uid: entry.port for entry in ENTRIES if entry.mode is mode and entry.lane == lane}
    return ports.get(uid, ports[None])


@pytest.fixture(autouse=True)
def _no_rules_left(bench) -> Iterator[None]:
    yield
    bench.open()


@pytest.mark.parametrize("seed", range(int(os.environ.get("POINTSMAN_SEEDS", "12"))))
def test_connections_enter_where_the_diagram_says(bench, open_spec: GuardSpec, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311
    given = destinations(dice)
    trees = {
        names: tree(dice, 4)
        for names in ((), ("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c"), ("a", "b", "c"))
    }
    capture = compile_capture(MODES, ENTRIES, given, trees.__getitem__, lambda leaf: CLUSTERS[leaf.rule])
    assert capture.unwritten == ()
    bench.guard(replace(open_spec, capture=capture))
    flows = [(uid, address, port) for uid in USERS for address in ADDRESSES for port in TESTED]

    code = f"import sys, io; sys.stdin = io.StringIO({json.dumps(json.dumps(flows))})\n{_ASK}"
    found = json.loads(bench.python(code))

    wanted = []
    for uid, address, port in flows:
        facts = {"process.uid": uid, "destination.address": address, "destination.port": port}
        rule = decide(trees[fitting(given, address, port)], facts)
        wanted.append(f"{expected(uid, port, CLUSTERS[rule])} {address}")
    assert dict(zip(flows, found, strict=True)) == dict(zip(flows, wanted, strict=True))
