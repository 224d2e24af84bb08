"""The edge to DNS, against real servers in a network namespace of its own."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pointsman.lab.wait import until

ONE, TWO, SIX, NOBODY, LIAR = "127.0.0.2", "127.0.0.3", "::1", "127.0.0.4", "127.0.0.5"
MANY = [f"198.51.100.{number}" for number in range(1, 120)]
ZONE: dict[str, dict[str, Any]] = {
    "shop.example": {"addresses": ["198.51.100.2", "198.51.100.1", "2001:db8::1"], "ttl": 7},
    "www.example": {"addresses": ["198.51.100.9"], "ttl": 30, "alias": "front.example"},
    "four.example": {"addresses": ["198.51.100.4"], "ttl": 9},
    "many.example": {"addresses": MANY, "ttl": 60},
    "local.example": {"addresses": ["127.0.0.1"], "ttl": 60},
}
BROKEN: dict[str, dict[str, Any]] = {name: {"rcode": "SERVFAIL"} for name in ZONE}

_ASK = """
import asyncio, json, sys
from pointsman.model.fault import Fault
from pointsman.model.resolution import Question
from pointsman.system.dns import ask
name, family, *resolvers = sys.argv[1:]
try:
    answer = asyncio.run(ask(Question(name, int(family)), resolvers))
    print(json.dumps([list(answer.addresses), answer.ttl]))
except Fault as fault: print(json.dumps([fault.label, str(fault)]))
"""
# Says something else first: the id of no question, then the answer to another question, and the truth at last.
_LIAR = """
import dns.message, dns.rrset, socket, sys
door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); door.bind((sys.argv[1], 53)); print("ready", flush=True)
def said(query, name, address):
    reply = dns.message.make_response(query)
    reply.answer.append(dns.rrset.from_text(name, 5, "IN", "A", address))
    return reply
while True:
    data, who = door.recvfrom(4096)
    query = dns.message.from_wire(data)
    wrong = said(query, "shop.example.", "203.0.113.1"); wrong.id ^= 1; door.sendto(wrong.to_wire(), who)
    other = dns.message.make_query("other.example", "A"); other.id = query.id
    door.sendto(said(other, "other.example.", "203.0.113.2").to_wire(), who)
    door.sendto(b"nonsense", who)
    door.sendto(said(query, "shop.example.", "198.51.100.1").to_wire(), who)
"""


@dataclass(frozen=True, slots=True)
class Space:
    """A namespace with two name servers: one knows the zone, the other one fails."""

    name: str
    folder: Path

    def ask(self, name: str, family: int, *resolvers: str) -> Any:
        """Ask through the edge and return addresses and time to live, or the fault's label and text."""
        argv = ["nsenter", f"--net=/run/netns/{self.name}", sys.executable, "-c", _ASK, name, str(family), *resolvers]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def questions(self) -> list[dict[str, str]]:
        """Return what reached the servers."""
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Space]:
    if os.geteuid() != 0:
        pytest.fail("network namespaces need root")
    made = Space(f"dn{secrets.token_hex(3)}", tmp_path_factory.mktemp("dns"))
    subprocess.run(["ip", "netns", "add", made.name], check=True)
    enter = ["nsenter", f"--net=/run/netns/{made.name}", sys.executable]
    children = []
    try:
        subprocess.run(["ip", "-n", made.name, "link", "set", "lo", "up"], check=True)
        for number, (zone, addresses) in enumerate(((ZONE, (ONE, SIX)), (BROKEN, (TWO,)))):
            file, ready = made.folder / f"zone{number}", made.folder / f"ready{number}"
            file.write_text(json.dumps(zone))
            argv = ["-m", "pointsman.lab.nameserver", str(file), str(made.folder / "log"), str(ready), *addresses]
            children.append(subprocess.Popen([*enter, *argv]))
            until(ready.exists, "the server listens", within=30)
        liar = subprocess.Popen([*enter, "-c", _LIAR, LIAR], stdout=subprocess.PIPE, text=True)
        children.append(liar)
        assert liar.stdout is not None
        assert liar.stdout.readline() == "ready\n"
        yield made
    finally:
        for child in children:
            child.kill()
            child.wait()
        subprocess.run(["ip", "netns", "del", made.name], check=True)


@pytest.mark.parametrize(
    ("name", "family", "answer"),
    [
        ("shop.example", 4, [["198.51.100.1", "198.51.100.2"], 7]),
        ("shop.example", 6, [["2001:db8::1"], 7]),
        ("www.example", 4, [["198.51.100.9"], 30]),
        ("local.example", 4, [["127.0.0.1"], 60]),
    ],
)
def test_an_answer_is_passed_on_as_it_is(space: Space, name: str, family: int, answer: list[object]) -> None:
    assert space.ask(name, family, ONE) == answer
    assert space.ask(name, family, SIX) == answer


@pytest.mark.parametrize(("name", "family"), [("nowhere.example", 4), ("four.example", 6)])
def test_that_there_is_no_address_is_an_answer(space: Space, name: str, family: int) -> None:
    found, ttl = space.ask(name, family, ONE, TWO)

    assert (found, ttl >= 0) == ([], True)


def test_what_does_not_fit_into_a_datagram_is_asked_by_tcp(space: Space) -> None:
    assert space.ask("many.example", 4, ONE) == [sorted(MANY), 60]
    asked = [question["transport"] for question in space.questions() if question["name"] == "many.example"]
    assert asked == ["udp", "tcp"]


def test_the_next_resolver_is_asked_where_one_fails_or_is_silent(space: Space) -> None:
    assert space.ask("four.example", 4, TWO, ONE) == [["198.51.100.4"], 9]
    assert space.ask("four.example", 4, NOBODY, ONE) == [["198.51.100.4"], 9]


def test_where_nobody_can_tell_it_is_a_fault_that_says_why(space: Space) -> None:
    begun = time.monotonic()
    label, told = space.ask("four.example", 4, TWO, NOBODY)

    assert label == "dns"
    assert told.startswith("ask for A of `four.example`: 127.0.0.3 answered SERVFAIL; 127.0.0.4")
    assert time.monotonic() - begun < 20
    assert space.ask("four.example", 4) == ["dns", "ask for A of `four.example`: no resolver is declared"]


def test_answers_to_other_questions_are_ignored(space: Space) -> None:
    assert space.ask("shop.example", 4, LIAR) == [["198.51.100.1"], 5]


def test_no_other_resolver_and_no_search_list_takes_part(space: Space) -> None:
    before = len(space.questions())
    space.ask("shop", 4, ONE)

    assert [(question["name"], question["asked"]) for question in space.questions()[before:]] == [("shop", ONE)]
