"""A path dies under load: requests go on by the next tunnel of their profile; what may not repeat is sent once."""

import json
import os
import secrets
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pointsman.lab import exec as on
from pointsman.lab import instance, world
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.lab.watch import Witness
from tests.lab.steered import Steered, policy_text, steering
from tests.lab.test_probes import blackholed, tunnel

VAULT = {
    "name": "vault",
    "encryption": "strong",
    "select": {"labels": {"purpose": "vault"}, "names": ["wg-a", "wg-b"]},
    "choose": "ordered",
    "onFailure": "next",
    "failBack": {"after": "2s"},
    "onMove": "drain",
    "drainWithin": "5s",
}
# Asks again and again over eight connections until told to end: reads, and writes that carry a number.
_LOAD = """
import encodings.idna, http.client, json, os, sys, threading, time
os.setgroups([]); os.setresgid(1000, 1000, 1000); os.setresuid(1000, 1000, 1000)
canary, run, end, found = *sys.argv[1:], threading.Event(), []
def ask(worker):
    number, line = 0, None
    while not end.is_set():
        number += 1
        method = "POST" if worker % 4 == 0 else "GET"
        path, begun = f"/load/{run}/{worker}/{number}", time.monotonic()
        try:
            if line is None: line = http.client.HTTPConnection("198.51.100.80", 80, timeout=20)
            body = b"x" if method == "POST" else None
            line.request(method, path, body, {"Host": "public.example", "X-Canary": canary})
            answer = line.getresponse(); body = answer.read()
            source = json.loads(body).get("source") if answer.status == 200 else ""
            found.append((method, path, answer.status, source, begun, time.monotonic()))
        except http.client.IncompleteRead:  # its answer had begun: nobody may ask for it again
            line = None
            found.append((method, path, -1, "begun", begun, time.monotonic()))
        except OSError as error:
            line = None
            found.append((method, path, 0, str(error), begun, time.monotonic()))
workers = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
for one in workers: one.start()
print("ready", flush=True); sys.stdin.readline(); end.set()
for one in workers: one.join()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def host(lab: Lab, witness: Witness) -> Iterator[Steered]:
    rules = [{"name": "all", "when": 'destination.name == "public"', "profile": "vault"}]
    with steering(lab, policy_text(profiles=[VAULT], rules=rules)) as made:
        made.until_up("wg-a", "wg-b")
        yield made


@contextmanager
def loaded(host: Steered, canary: str) -> Iterator[list[Any]]:
    """Ask all the time while the block runs; the list is filled at its end."""
    found: list[Any] = []
    command = on.command(host.lab, world.INSTANCE, [sys.executable, "-c", _LOAD, canary, secrets.token_hex(4)])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        yield found
        found += json.loads(child.communicate("end\n", timeout=40)[0])


def daemons(lab: Lab, gateway: str) -> list[int]:
    """Return the processes that make a gateway's WireGuard."""
    return [p for p in on.processes(lab, gateway) if Path(f"/proc/{p}/comm").read_text().strip() == "wireguard-go"]


def signal_all(processes: list[int], number: signal.Signals) -> None:
    for process in processes:
        os.kill(process, number)


def carrier(host: Steered) -> str:
    return str(instance.agent_status(host.lab)["profiles"][0]["tunnel"])


def posts(lab: Lab) -> Counter[str]:
    return Counter(str(one["path"]) for one in instance.reached(lab) if one.get("method") == "POST")


def judge(found: list[Any], lab: Lab) -> float:
    """Hold what was answered against the promises; return the longest that one request took."""
    lost = [one for one in found if one[0] == "GET" and one[2] not in (200, -1)]
    assert lost == []
    assert {path: times for path, times in posts(lab).items() if times > 1} == {}
    return max(one[5] - one[4] for one in found)


def test_a_swallowed_path_loses_no_request_that_may_repeat_and_repeats_none_that_may_not(
    host: Steered, witness: Witness
) -> None:
    assert carrier(host) == "wg-a"
    with loaded(host, witness.canary.decode()) as found, blackholed(host.lab, "gw-a"):
        until(lambda: carrier(host) == "wg-b", "the profile has moved")
        until(lambda: tunnel(host, "wg-a")["state"] == "failed", "the dead path is known")
    longest = judge(found, host.lab)

    backup = world.seen_as("wg-b")[0]
    assert {one[3] for one in found if one[2] == 200} == {world.seen_as("wg-a")[0], backup}
    assert longest < 2.0  # about one second on a machine that does nothing else
    assert witness.leaked() == 0

    until(lambda: carrier(host) == "wg-a", "the profile has gone back", within=60)
    spent = [one for one in found if one[5] - one[4] > 0.2]
    assert {one[3] for one in spent if one[2] == 200} <= {backup}, "who waited was answered through the next tunnel"


def test_a_stopped_daemon_is_a_dead_path_too(host: Steered, witness: Witness) -> None:
    until(lambda: carrier(host) == "wg-a", "the profile is on its first tunnel", within=60)
    stopped = daemons(host.lab, "gw-a")
    assert stopped
    with loaded(host, witness.canary.decode()) as found:
        signal_all(stopped, signal.SIGSTOP)
        try:
            until(lambda: carrier(host) == "wg-b", "the profile has moved")
        finally:
            signal_all(stopped, signal.SIGCONT)
    assert judge(found, host.lab) < 2.0
    assert witness.leaked() == 0
