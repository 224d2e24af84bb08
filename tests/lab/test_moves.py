"""A profile moves while its tunnels are well: what is on the old one is kept, drained or reset, as the profile says."""

import subprocess
import time
from collections.abc import Iterator

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
# At 200 kB a second: longer than the test looks
SIZE = 12_000_000


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


@pytest.mark.slow
def test_connections_on_a_tunnel_that_was_left_end_when_their_profile_says(host: Steered, witness: Witness) -> None:
    until(lambda: carriers(host) == {"wg-a"}, "all are on the first tunnel")
    streams = {
        mode: subprocess.Popen(
            on.command(
                host.lab,
                world.INSTANCE,
                ["curl", "-4", "-s", "-o", "/dev/null", "--limit-rate", "200k", f"http://{name}/big?bytes={SIZE}"],
                uid=1000,
            )
        )
        for mode, name in HOSTS.items()
    }
    until(lambda: sum("/big" in str(one["path"]) for one in instance.reached(host.lab)) == 3, "all streams flow")
    (host.lab.node / "other.yaml").write_text(policy(["wg-b", "wg-a"]))
    host.tell("policy", "apply", str(host.lab.node / "other.yaml"))

    until(lambda: carriers(host) == {"wg-b"}, "all have moved", within=45)
    moved = time.monotonic()
    ends: dict[str, float] = {}

    def ended() -> bool:
        for mode, stream in streams.items():
            if stream.poll() is not None:
                ends.setdefault(mode, time.monotonic() - moved)
        return {"drain", "reset"} <= ends.keys()

    until(ended, "two of the streams have ended", within=WITHIN + 10)
    code = streams["keep"].wait(60)

    assert ends["reset"] < 2
    assert WITHIN - 1 < ends["drain"] < WITHIN + 4
    assert [streams[mode].returncode != 0 for mode in ("reset", "drain")] == [True, True]
    assert "keep" not in ends
    assert code == 0
    assert witness.leaked() == 0
