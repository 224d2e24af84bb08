"""A tunnel that nobody probes: whether its far end still answers is known by what requests meet on it."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from pointsman.lab import exec as on
from pointsman.lab import instance, world
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.lab.watch import Witness
from tests.lab.steered import Steered, policy_text, steering
from tests.lab.test_probes import blackholed, tunnel

ADDRESS = "198.51.100.80"
VAULT = {
    "name": "vault",
    "encryption": "strong",
    "select": {"names": ["wg-a", "wg-b"]},
    "choose": "ordered",
    "onFailure": "next",
    "failBack": {"after": "1s"},
}
# Asks so many times at once, each on a connection of its own, and tells status and source of each answer.
_ASK = """
import encodings.idna, http.client, json, os, sys, threading
os.setgroups([]); os.setresgid(1000, 1000, 1000); os.setresuid(1000, 1000, 1000)
canary, port, times, found = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), []
def ask():
    line = http.client.HTTPConnection("198.51.100.80", port, timeout=30)
    line.request("GET", "/attempts", None, {"Host": "public.example", "X-Canary": canary})
    answer = line.getresponse(); body = answer.read()
    found.append((answer.status, json.loads(body).get("source") if answer.status == 200 else ""))
asking = [threading.Thread(target=ask) for _ in range(times)]
for one in asking: one.start()
for one in asking: one.join()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def host(lab: Lab, witness: Witness) -> Iterator[Steered]:
    rules = [{"name": "all", "when": 'destination.name == "public"', "profile": "vault"}]
    written = yaml.safe_load(instance.write_node(lab, None).read_text())["tunnels"]
    unprobed = [{key: value for key, value in one.items() if key != "probe"} for one in written]
    with steering(lab, policy_text(profiles=[VAULT], rules=rules), tunnels=unprobed) as made:
        made.until_up("wg-a", "wg-b")
        yield made


def ask(host: Steered, canary: bytes, port: int = 80, times: int = 1) -> list[Any]:
    """Return status and source of each answer."""
    done = host.run(sys.executable, "-c", _ASK, canary.decode(), str(port), str(times))
    return [tuple(one) for one in json.loads(done.stdout)]


@contextmanager
def refused(lab: Lab) -> Iterator[None]:
    """Have the origin refuse connections to one port."""
    rules = "table inet shut { chain in { type filter hook input priority 0; tcp dport 8081 reject with tcp reset; }; }"
    on.demand(lab, world.ORIGIN, ["nft", "-f", "-"], given=rules)
    try:
        yield
    finally:
        on.demand(lab, world.ORIGIN, ["nft", "delete", "table", "inet", "shut"])


def carrier(host: Steered) -> str:
    return str(instance.agent_status(host.lab)["profiles"][0]["tunnel"])


def test_an_origin_that_refuses_changes_nothing(host: Steered, witness: Witness) -> None:
    with refused(host.lab):
        assert ask(host, witness.canary, port=8081, times=8) == [(503, "")] * 8
    until(lambda: host.status()["counts"]["requests"] >= 8, "the records are read")
    turn = host.status()["turn"]["number"]
    until(lambda: host.status()["turn"]["number"] > turn + 1, "they had their turn")

    assert (carrier(host), tunnel(host, "wg-a")["state"], tunnel(host, "wg-b")["state"]) == ("wg-a", "up", "up")


@pytest.mark.slow
def test_a_silent_gateway_is_known_by_its_requests(host: Steered, witness: Witness) -> None:
    first, second = (world.seen_as(name)[0] for name in ("wg-a", "wg-b"))
    assert ask(host, witness.canary) == [(200, first)]
    with blackholed(host.lab, "gw-a"):
        found: list[Any] = []

        def doubted() -> bool:
            found.extend(ask(host, witness.canary, times=6))
            return bool(tunnel(host, "wg-a")["state"] == "degraded")

        until(doubted, "the silent gateway is known", within=45)
        until(lambda: carrier(host) == "wg-b", "the profile has moved", within=35)
        why = tunnel(host, "wg-a")["why"]
        asked = ("curl", "-s", "--unix-socket", f"{host.lab.runtime}/control.sock", "http://a/metrics")
        assert f'pointsman_tunnel_degraded{{tunnel="wg-a",why="{why}"}} 1.0' in host.run(*asked).stdout
        assert why in host.tell("tunnels")
        assert ask(host, witness.canary) == [(200, second)]
    assert why == "5 attempts to connect failed within 15 s, none was answered"
    assert set(found) == {(200, second)}, "who met silence was answered through the next tunnel"

    assert witness.leaked() == 0
