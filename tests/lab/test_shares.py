"""A profile whose connections two tunnels share: each connection has one, and all go by the other when one dies."""

import sys
from collections.abc import Callable, Iterator

import pytest

from pointsman.lab import clients, instance, world
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.lab.watch import Witness
from tests.lab.steered import Steered, policy_text, steering
from tests.lab.test_failover import VAULT, judge, loaded
from tests.lab.test_probes import blackholed, tunnel

PUBLIC = "198.51.100.80"
# Of 30 connections all fall to one of two tunnels less than once in 100 million times
MANY = 30
# Connects so many times, and tells how often what it said came back
_FLOWS = """
import socket, sys
back, said = 0, b"\\x16\\x03 " + sys.argv[3].encode()
for _ in range(int(sys.argv[2])):
    with socket.create_connection((sys.argv[1], 7000), 5) as flow:
        flow.sendall(said)
        back += flow.recv(99) == said
print(back)
"""
A, B = world.seen_as("wg-a")[0], world.seen_as("wg-b")[0]


@pytest.fixture(scope="module")
def host(lab: Lab, witness: Witness) -> Iterator[Steered]:
    rules = [
        {"name": "requests", "when": 'destination.name == "public"', "profile": "vault"},
        {"name": "flows", "when": "destination.port == 7000", "profile": "vault"},
    ]
    with steering(lab, policy_text(profiles=[VAULT | {"choose": "spread"}], rules=rules)) as made:
        made.until_up("wg-a", "wg-b")
        until(lambda: len(shares(made)) == 2, "both share")
        yield made


def shares(host: Steered) -> dict[str, int]:
    return dict(instance.agent_status(host.lab)["profiles"][0]["shares"])


def by_requests(host: Steered, witness: Witness) -> set[str]:
    """Return the sources that many connections had, each of which had one for all its requests."""
    found = set()
    for _ in range(MANY):
        with clients.connected(host.lab, PUBLIC, 80) as client:
            answers = [client.ask("/", host="public.example", headers=[witness.secret]) for _ in range(3)]
        sources = {answer.json()["source"] for answer in answers}
        assert len(sources) == 1
        found |= sources
    return found


def by_flows(host: Steered, witness: Witness) -> set[str]:
    """Return the sources that many plain TCP flows had."""
    before = len(instance.reached(host.lab))
    done = host.run(sys.executable, "-c", _FLOWS, PUBLIC, str(MANY), witness.canary.decode(), uid=1000)
    assert done.stdout.strip() == str(MANY), done
    return {str(one["source"]) for one in instance.reached(host.lab)[before:]}


@pytest.mark.parametrize("ask", [by_requests, by_flows])
def test_connections_are_shared_and_each_has_one_tunnel(
    host: Steered, witness: Witness, ask: Callable[[Steered, Witness], set[str]]
) -> None:
    assert ask(host, witness) == {A, B}
    assert witness.leaked() == 0


def test_the_explanation_names_all_who_share_and_the_objections_to_others(host: Steered) -> None:
    told = host.json("explain", "http://public.example/")

    assert told["shares"] == {"wg-a": 1, "wg-b": 1}
    assert {line.partition(":")[0] for line in told["objections"]} == {"direct", "ovpn-c"}


def test_when_one_dies_no_request_that_may_repeat_is_lost_and_it_shares_again_once_it_is_well(
    host: Steered, witness: Witness
) -> None:
    with loaded(host, witness.canary.decode()) as found, blackholed(host.lab, "gw-a"):
        until(lambda: tunnel(host, "wg-a")["state"] == "failed", "the dead path is known")
        until(lambda: shares(host) == {}, "the other one carries all")
        assert by_requests(host, witness) == by_flows(host, witness) == {B}
    judge(found, host.lab)
    assert witness.leaked() == 0

    until(lambda: len(shares(host)) == 2, "both share again", within=60)
    assert by_requests(host, witness) == {A, B}
