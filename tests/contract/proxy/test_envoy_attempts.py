"""What a real Envoy tells of attempts that could not connect: by which lane, and whether somebody has refused."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from pointsman.lab import exec as on
from pointsman.lab import world
from pointsman.lab.clients import connected
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.model.profile import OnFailure
from pointsman.model.tunnel import Lane
from pointsman.node.outcomes import Outcomes
from pointsman.tunnels.attempts import Attempts

from .conftest import LANES, SAFE, WAYS, Proxy, inside

ADDRESS, HOST = "198.51.100.80", "public.example"
FIRST = Lane("fast", "x", 0x00600000, "eth0", SAFE)
FAILED, ANSWERED = Attempts((1.0,)), Attempts(answered=1.0)


@contextmanager
def lost(lab: Lab, verdict: str) -> Iterator[None]:
    """Have the origin do this with whatever comes from the first lane's address."""
    rule = f"ip saddr {SAFE[0]} {verdict}"
    rules = f"table inet lost {{\nchain in {{\ntype filter hook input priority 0\n{rule}\n}}\n}}\n"
    on.demand(lab, world.ORIGIN, ["nft", "-f", "-"], given=rules)
    try:
        yield
    finally:
        on.demand(lab, world.ORIGIN, ["nft", "delete", "table", "inet", "lost"])


@contextmanager
def told(proxy: Proxy) -> Iterator[dict[str, Attempts]]:
    """Gather what the attempts of the block came to; it is there at its end."""
    log, found = proxy.place.state / "attempts.log", Outcomes()
    before = len(log.read_text().splitlines()) if log.exists() else 0
    yield found.attempts
    until(lambda: log.exists() and len(log.read_text().splitlines()) > before, "an attempt is told", log)
    for line in log.read_text().splitlines()[before:]:
        found.fail(json.loads(line), 1.0)


def test_an_attempt_that_another_lane_made_up_for_is_told_with_its_own(lab: Lab, proxy: Proxy) -> None:
    profiles = tuple(replace(profile, on_failure=OnFailure.NEXT) for profile in proxy.policy.profiles)
    policy = replace(proxy.policy, profiles=profiles)
    proxy.publish(proxy.files(policy, {**WAYS, "fast": FIRST}, (*LANES, FIRST), {FIRST.cluster: (LANES[0],)}))
    try:
        with told(proxy) as attempts, lost(lab, "drop"), connected(lab, ADDRESS, 80) as client:
            assert client.ask("/attempted", host=HOST).status == 200
    finally:
        proxy.publish(proxy.files(proxy.policy))
    answers = Outcomes()
    answers.end(proxy.record(path="/attempted"), 1.0)

    assert (attempts, answers.attempts) == ({"x": FAILED}, {LANES[0].tunnel: ANSWERED})


@pytest.mark.parametrize(
    ("verdict", "known"),
    [
        ("drop", FAILED),
        ("reject with icmpx host-unreachable", FAILED),
        ("meta l4proto tcp reject with tcp reset", ANSWERED),
    ],
)
def test_a_plain_flow_that_meets_nobody_counts_against_its_lane_one_that_is_refused_for_it(
    lab: Lab, proxy: Proxy, verdict: str, known: Attempts
) -> None:
    with told(proxy) as attempts, lost(lab, verdict):
        with inside(lab):
            flow = socket.create_connection((ADDRESS, 7001), timeout=9)
        with flow:
            assert flow.recv(99) == b""

    assert attempts == {"b": known}
