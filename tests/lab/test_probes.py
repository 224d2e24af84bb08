"""Probes through real tunnels: a path that dies while its daemon lives is known within a second."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from pointsman.lab import exec as on
from pointsman.lab import instance
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.lab.watch import Witness
from tests.lab.steered import Steered, policy_text, status_of, steering

HOLE = "table inet hole { chain in { type filter hook prerouting priority -400; policy drop; }; }"


@pytest.fixture(scope="module")
def host(lab: Lab, witness: Witness) -> Iterator[Steered]:
    with steering(lab) as made:
        yield made


@contextmanager
def blackholed(lab: Lab, gateway: str) -> Iterator[None]:
    """Let a gateway take in nothing, tunnel packets included: it lives, and says nothing."""
    on.demand(lab, gateway, ["nft", "-f", "-"], given=HOLE)
    try:
        yield
    finally:
        on.demand(lab, gateway, ["nft", "delete", "table", "inet", "hole"])


def tunnel(host: Steered, name: str) -> Any:
    return next(t for t in instance.agent_status(host.lab)["tunnels"] if t["name"] == name)


def test_every_tunnel_that_can_be_probed_is_measured(host: Steered) -> None:
    until(lambda: all(tunnel(host, n)["probe"]["latency"] for n in ("wg-a", "wg-b", "ovpn-c")), "all have answered")

    assert all(tunnel(host, name)["probe"]["loss"] == 0 for name in ("wg-a", "wg-b", "ovpn-c"))
    assert tunnel(host, "direct")["probe"] is None
    metrics = host.run("curl", "-s", "--unix-socket", f"{host.lab.runtime}/control.sock", "http://a/metrics").stdout
    assert 'pointsman_tunnel_latency_seconds{tunnel="wg-a"}' in metrics
    assert "ms" in host.tell("tunnels")


@pytest.mark.parametrize(
    ("gateway", "name", "asked"), [("gw-b", "wg-b", "records.example"), ("gw-c", "ovpn-c", "pay.example")]
)
def test_a_path_that_swallows_everything_is_known_within_a_second(
    host: Steered, witness: Witness, gateway: str, name: str, asked: str
) -> None:
    headers = host.token(role="clerk"), witness.secret
    host.until_up(name)
    before = status_of(host, asked, *headers)
    with blackholed(host.lab, gateway):
        begun = time.monotonic()
        until(lambda: tunnel(host, name)["state"] == "failed", "the dead path is known")
        took = time.monotonic() - begun
        dead, meanwhile = tunnel(host, name), status_of(host, asked, *headers)

    assert (before, meanwhile) == (200, 503)
    assert dead["why"] == "3 probes in a row had no answer"
    assert took < 1.5  # below one second on a machine that does nothing else
    host.until_up(name)


def test_a_profile_says_when_the_path_of_its_tunnel_is_dead(host: Steered) -> None:
    profiles = yaml.safe_load(policy_text())["profiles"]
    patient = [
        one | {"health": {"interval": "300ms", "down": 8}} if one["name"] == "archive" else one for one in profiles
    ]
    file = host.lab.node / "patient.yaml"
    file.write_text(policy_text(profiles=patient))
    host.tell("policy", "apply", str(file))
    try:
        host.until_up("wg-b", "ovpn-c")
        with blackholed(host.lab, "gw-b"), blackholed(host.lab, "gw-c"):
            begun = time.monotonic()
            until(lambda: tunnel(host, "ovpn-c")["state"] == "failed", "the path of the others is known to be dead")
            assert tunnel(host, "wg-b")["state"] == "up"
            until(lambda: tunnel(host, "wg-b")["state"] == "failed", "its own is, too")
            took, dead = time.monotonic() - begun, tunnel(host, "wg-b")
    finally:  # what was applied outlives the agent
        host.tell("policy", "apply", str(host.lab.node / "policy.yaml"))

    assert dead["why"] == "8 probes in a row had no answer"
    assert took > 1.8
    host.until_up("wg-b", "ovpn-c")
