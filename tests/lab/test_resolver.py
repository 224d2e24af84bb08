"""Rules by names that only DNS knows: they hold for the addresses that the agent's own resolver gave, and no others."""

import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml

from pointsman.lab import clients, world, zone
from pointsman.lab import exec as on
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.lab.watch import Witness
from tests.lab.steered import PATIENCE, POLICY, Steered, policy_text, steering

SHOP = "shop.example"
FIRST, SECOND, ELSEWHERE = "198.51.100.83", "198.51.100.82", "198.51.100.81"
PARTS = yaml.safe_load(POLICY.read_text())
WITH_SHOP = policy_text(
    destinations=[*PARTS["destinations"], {"name": "shop", "hosts": [SHOP], "ports": [80, 7009]}],
    rules=[*PARTS["rules"], {"name": "shopping", "when": 'destination.name == "shop"', "profile": "archive"}],
)

# Asks for one name, by UDP or TCP, as the user 1000.
_ASK = """
import os, sys
import dns.message, dns.query
os.setgroups([]); os.setresgid(1000, 1000, 1000); os.setresuid(1000, 1000, 1000)
transport, server, name = sys.argv[1:]
try:
    reply = getattr(dns.query, transport)(dns.message.make_query(name, "A"), server, timeout=2)
    print(" ".join(record.address for record in reply.answer[0]))
except Exception as error: print(type(error).__name__)
"""


@pytest.fixture(scope="module")
def host(lab: Lab, witness: Witness) -> Iterator[Steered]:
    with steering(lab, WITH_SHOP) as made:
        yield made


@pytest.fixture(autouse=True)
def _first_answer(host: Steered) -> None:
    zone.say(host.lab, SHOP, FIRST)
    if host.agent.poll() is not None:
        host.restart()


def status_of(host: Steered, witness: Witness, address: str) -> int:
    """Ask once for the shop on a new connection to this address and return the status."""
    with clients.connected(host.lab, address, 80) as client:
        return client.ask("/", host=SHOP, headers=[witness.secret]).status


def known(host: Steered) -> Any:
    """Return what the agent knows of the name."""
    return host.status()["names"][0]


def await_addresses(host: Steered, *addresses: str) -> None:
    """Wait until the agent goes by these addresses at least."""
    log = host.lab.log(world.INSTANCE, "agent")
    until(lambda: set(addresses) <= set(known(host)["addresses"]), "the answer is in use", log, within=PATIENCE)


def test_a_rule_by_a_resolved_host_holds_as_soon_as_the_agent_is_ready(host: Steered, witness: Witness) -> None:
    with clients.connected(host.lab, FIRST, 80) as client:
        first = client.ask("/", host=SHOP, headers=[witness.secret])
    found = known(host)

    assert (first.status, first.json().get("source", first.body)) == (200, world.seen_as("wg-b")[0])
    assert (found["destination"], found["host"], found["why"]) == ("shop", SHOP, "")
    assert FIRST in found["addresses"]
    assert found["age"] < 60


def test_a_connection_to_another_address_is_misdirected(host: Steered, witness: Witness) -> None:
    assert status_of(host, witness, ELSEWHERE) == 421
    assert status_of(host, witness, "198.51.100.80") == 421


def test_old_and_new_addresses_both_hold_after_an_answer_has_changed(host: Steered, witness: Witness) -> None:
    zone.say(host.lab, SHOP, SECOND, alias="front.shop.example")
    await_addresses(host, SECOND)
    until(lambda: status_of(host, witness, SECOND) == 200, "the new address holds", within=PATIENCE)

    assert (status_of(host, witness, FIRST), status_of(host, witness, ELSEWHERE)) == (200, 421)


def test_answers_that_lead_back_to_the_host_are_ignored(host: Steered, witness: Witness) -> None:
    bad = ("127.0.0.1", "169.254.169.254")
    zone.say(host.lab, SHOP, *bad, FIRST)
    until(lambda: known(host)["refused"] == [*bad], "the answer was seen", within=PATIENCE)
    found = known(host)
    log = host.lab.log(world.INSTANCE, "agent").read_text()

    assert not set(bad) & set(found["addresses"])
    assert found["drops"] >= 2
    assert log.count("addresses that no name may have are refused") >= 1
    assert status_of(host, witness, FIRST) == 200


def test_an_answer_too_long_for_a_datagram_comes_by_tcp(host: Steered) -> None:
    many = tuple(f"203.0.113.{number}" for number in range(1, 101))
    zone.say(host.lab, SHOP, FIRST, *many)
    await_addresses(host, FIRST, *many)

    asked = [question for question in zone.questions(host.lab) if question["transport"] == "tcp"]
    assert {(question["asked"], question["name"]) for question in asked} == {(world.RESOLVERS[0], SHOP)}


@pytest.mark.parametrize("how", ["silent", "refusing"])
def test_the_last_known_addresses_go_on_when_the_resolver_is_dead(host: Steered, witness: Witness, how: str) -> None:
    await_addresses(host, FIRST)
    if how == "silent":
        zone.silence(host.lab)
    else:
        zone.refuse(host.lab, SHOP)
    try:
        until(lambda: known(host)["why"] != "", "the agent asked in vain", within=PATIENCE)
        dead = status_of(host, witness, FIRST)
        host.kill()
        host.restart()
        restarted = status_of(host, witness, FIRST)
    finally:
        if how == "silent":
            zone.speak(host.lab)
    zone.say(host.lab, SHOP, FIRST)
    until(lambda: known(host)["why"] == "", "the resolver is back", within=PATIENCE)

    assert (dead, restarted) == (200, 200)


def test_a_dead_resolver_holds_up_neither_start_nor_other_rules(host: Steered, witness: Witness) -> None:
    host.tell("down")
    host.agent.wait(20)
    zone.silence(host.lab)
    try:
        host.restart()
        with clients.connected(host.lab, FIRST, 80) as client:
            other = client.ask("/", host="public.example").status
        assert (status_of(host, witness, FIRST), other) == (421, 200)
    finally:
        zone.speak(host.lab)
    await_addresses(host, FIRST)
    until(lambda: status_of(host, witness, FIRST) == 200, "the rule holds", within=PATIENCE)


def test_names_of_a_new_policy_are_known_before_it_is_in_force(host: Steered, witness: Witness) -> None:
    def apply(text: str) -> None:
        transport = httpx.HTTPTransport(uds=str(host.lab.runtime / "control.sock"))
        body = {"text": text, "name": "p.yaml", "folder": str(host.lab.node)}
        with httpx.Client(transport=transport, base_url="http://pointsman", timeout=30) as line:
            line.post("/v1/policy", json=body).raise_for_status()

    zone.say(host.lab, "mall.example", SECOND)
    with clients.connected(host.lab, SECOND, 80) as client:
        before = client.ask("/", host="mall.example", headers=[witness.secret]).status
        apply(WITH_SHOP.replace(SHOP, "mall.example"))
        after = client.ask("/", host="mall.example", headers=[witness.secret]).status
    apply(WITH_SHOP)

    assert (before, after) == (403, 200)
    assert status_of(host, witness, FIRST) == 200


def test_a_plain_flow_to_a_resolved_address_belongs_to_its_destination(host: Steered) -> None:
    await_addresses(host, FIRST)
    told = host.json("explain", f"tcp://{FIRST}:7009", "--address", FIRST)

    facts = {fact["attribute"]: fact["value"] for fact in told["context"]}
    assert (facts["destination.name"], told["profile"]) == ("shop", "archive")


def test_explain_goes_by_the_addresses_of_the_agent(host: Steered) -> None:
    await_addresses(host, FIRST)
    there = host.json("explain", f"http://{SHOP}/", "--uid", "1000", "--address", FIRST)
    elsewhere = host.json("explain", f"http://{SHOP}/", "--uid", "1000", "--address", ELSEWHERE)

    assert (there["rule"], there["profile"], there["tunnel"]) == ("shopping", "archive", "wg-b")
    assert elsewhere["decision"].startswith("misdirected (421)")


@pytest.mark.parametrize("server", ["192.0.2.1", "192.0.2.21", "127.0.0.53"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_questions_leave_for_declared_resolvers_only(
    host: Steered, witness: Witness, server: str, transport: str
) -> None:
    def asked(of: str, at: str, name: str) -> str:
        argv = [sys.executable, "-c", _ASK, transport, at, name]
        return on.run(host.lab, of, argv).stdout.strip()

    secret = f"{witness.canary.decode()}.example"
    before = len(zone.questions(host.lab))
    control = [asked("gw-b", "192.0.2.1", SHOP), asked(world.INSTANCE, world.RESOLVERS[0], SHOP)]
    refused = asked(world.INSTANCE, server, secret)

    assert control == [FIRST, FIRST]
    assert refused in ("PermissionError", "ConnectionRefusedError", "ConnectionResetError", "Timeout", "EOFError")
    names = {question["name"] for question in zone.questions(host.lab)[before:]}
    assert names <= {SHOP}


def test_without_resolvers_in_the_node_file_the_agent_says_so(host: Steered, witness: Witness) -> None:
    host.tell("down")
    host.agent.wait(20)
    asked = len(zone.questions(host.lab))
    with steering(host.lab, WITH_SHOP, resolvers=[]) as bare:
        answer = bare.json("status")
        status = status_of(bare, witness, FIRST)

    assert status == 421
    assert [warning for warning in answer["warnings"] if "`shop` has no addresses" in warning]
    assert len(zone.questions(host.lab)) == asked
    assert answer["names"][0]["addresses"] == []
