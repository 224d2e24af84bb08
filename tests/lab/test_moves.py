"""A profile moves while its tunnels are well: what is on the old one is kept, drained or reset, as the profile says."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from pointsman.lab import exec as on
from pointsman.lab import instance, world
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.lab.watch import Witness
from tests.lab.steered import Steered, policy_text, steering

HOSTS = {"keep": "public.example", "drain": "pay.example", "reset": "records.example"}
DESTINATIONS = {"keep": "public", "drain": "pay", "reset": "records"}
WITHIN = 4
# More than all buffers on the way hold
SIZE = 200_000_000


def policy(names: list[str]) -> str:
    profiles = [
        {
            "name": mode,
            "encryption": "strong",
            "select": {"names": names},
            "choose": "ordered",
            "onFailure": "next",
            "failBack": {"after": "1s"},
            "onMove": mode,
            "drainWithin": f"{WITHIN}s",
        }
        for mode in HOSTS
    ]
    rules = [
        {"name": mode, "when": f'destination.name == "{name}"', "profile": mode} for mode, name in DESTINATIONS.items()
    ]
    return policy_text(profiles=profiles, rules=rules)


@pytest.fixture(scope="module")
def host(lab: Lab, witness: Witness) -> Iterator[Steered]:
    with steering(lab, policy(["wg-a", "wg-b"])) as made:
        made.until_up("wg-a", "wg-b")
        yield made


def carriers(host: Steered) -> set[str]:
    return {profile["tunnel"] for profile in instance.agent_status(host.lab)["profiles"]}


def open_on(host: Steered, mark: str) -> bool:
    """Return whether a connection of the lane with this mark is open."""
    return bool(host.run("ss", "-H", "-n", "-t", "state", "established", f"fwmark = {mark}/0x3ff00000").stdout.strip())


@pytest.mark.slow
def test_connections_on_a_tunnel_that_was_left_end_when_their_profile_says(host: Steered, witness: Witness) -> None:
    until(lambda: carriers(host) == {"wg-a"}, "all are on the first tunnel")
    marks = {p["name"]: p["mark"] for p in instance.agent_status(host.lab)["profiles"]}
    with ExitStack() as streams:
        for name in HOSTS.values():
            argv = ["curl", "-4", "-s", "-o", "/dev/null", "--limit-rate", "100k", "-H", ": ".join(witness.secret)]
            argv.append(f"http://{name}/big?bytes={SIZE}")
            stream = subprocess.Popen(on.command(host.lab, world.INSTANCE, argv, uid=1000))
            streams.callback(stream.wait)
            streams.callback(stream.kill)
        until(lambda: all(open_on(host, mark) for mark in marks.values()), "all streams flow")
        (host.lab.node / "other.yaml").write_text(policy(["wg-b", "wg-a"]))
        host.tell("policy", "apply", str(host.lab.node / "other.yaml"))

        until(lambda: carriers(host) == {"wg-b"}, "all have moved", within=45)
        moved = time.monotonic()
        until(lambda: not open_on(host, marks["reset"]), "what is to be reset has ended", within=2)
        assert open_on(host, marks["drain"])
        until(lambda: not open_on(host, marks["drain"]), "what is to drain has ended", within=WITHIN + 4)
        assert time.monotonic() - moved > WITHIN - 1.5
        assert open_on(host, marks["keep"])
        assert witness.leaked() == 0
    until(lambda: not open_on(host, marks["keep"]), "what is kept ends when its users do")


@pytest.mark.slow
def test_what_runs_on_a_tunnel_that_is_not_what_the_profile_asks_for_any_more_ends_and_is_no_misroute(
    host: Steered, witness: Witness
) -> None:
    until(lambda: len(carriers(host)) == 1, "all are on one tunnel")
    (standing,) = carriers(host)
    other = "wg-a" if standing == "wg-b" else "wg-b"
    mark = next(p["mark"] for p in instance.agent_status(host.lab)["profiles"] if p["name"] == "keep")
    argv = ["curl", "-4", "-s", "-o", "/dev/null", "--limit-rate", "100k", f"http://{HOSTS['keep']}/big?bytes={SIZE}"]
    stream = subprocess.Popen(on.command(host.lab, world.INSTANCE, argv, uid=1000))
    try:
        until(lambda: open_on(host, mark), "the stream flows")
        (host.lab.node / "other.yaml").write_text(policy([other]))
        host.tell("policy", "apply", str(host.lab.node / "other.yaml"))

        until(lambda: not open_on(host, mark), "the stream has ended", within=4)
    finally:
        stream.kill()
        stream.wait()
    told = json.loads(host.run("pointsman", "verify", "--since", "20s", "--json").stdout)
    assert told["misrouted"] == {}
    assert witness.leaked() == 0
