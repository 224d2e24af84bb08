"""A policy is changed while requests go on: none is lost, a bad one changes nothing, and it outlives the agent."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pointsman.lab import clients, world
from pointsman.lab import exec as on
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.lab.watch import Witness
from pointsman.model.fault import Fault
from tests.lab.steered import POLICY, SHARED, Steered, change_node, policy_text, steering

ECHO = ("198.51.100.80", 7000)
# The records of the lab's other tests, by another tunnel
MOVED = [
    {"name": "admin-records", "when": 'user.role == "admin" && destination.name == "records"', "profile": "archive"},
    {"name": "public-read", "when": 'destination.name == "public" && operation == "read"', "profile": "plain"},
    {
        "name": "echo-of-1000",
        "when": 'destination.name == "echo" && request.protocol == "tcp" && process.uid == 1000',
        "profile": "vault",
    },
    {
        "name": "echo-of-1001",
        "when": 'destination.name == "echo" && request.protocol == "tcp" && process.uid == 1001',
        "profile": "vault",
    },
]


@pytest.fixture(scope="module")
def host(lab: Lab, witness: Witness) -> Iterator[Steered]:
    with steering(lab, POLICY) as made:
        yield made


@pytest.fixture(autouse=True)
def first(host: Steered) -> None:
    """Begin every test with the first policy."""
    put(host, POLICY.read_text())


def put(host: Steered, text: str) -> Any:
    file = host.lab.node / "next.yaml"
    file.write_text(text)
    return host.json("policy", "apply", str(file))


def taken(host: Steered, witness: Witness) -> str:
    """Return the address from which an admin's request for a record came, or the status where it did not."""
    with clients.connected(host.lab, SHARED[0], 80) as client:
        headers = [host.token(sub="ada", role="admin"), witness.secret]
        answer = client.ask("/patients", host="records.example", headers=headers)
    return str(answer.json()["source"]) if answer.status == 200 else str(answer.status)


# Keep-alive connections of both protocols, and new ones, until the input ends.
_LOAD = """
import encodings.idna, http.client, json, os, socket, sys, threading, time
address, headers, kinds = sys.argv[1], dict(json.loads(sys.argv[2])), sys.argv[3:]
os.setgroups([]); os.setresgid(1000, 1000, 1000); os.setresuid(1000, 1000, 1000)
ended, asked, failed = threading.Event(), [], []
def web(line):
    line = line or http.client.HTTPConnection(address, 80, timeout=20)
    line.request("GET", "/patients", headers=headers)
    answer = line.getresponse(); body = answer.read()
    if answer.status != 200: raise OSError(answer.status, body)
    return line, json.loads(body)["source"]
def echo(line):
    line = line or socket.create_connection(("198.51.100.80", 7000), 20)
    said = b"\\x16\\x03 " + headers["x-canary"].encode()
    line.sendall(said)
    if (got := line.recv(100)) != said: raise OSError(0, got)
    return line, "echo"
def work(ask, keep):
    line = None
    while not ended.is_set():
        try: line, source = ask(line); asked.append(source)
        except (OSError, http.client.HTTPException) as error:
            failed.append([ask.__name__, keep, repr(error)]); line = None
        if not keep and line: line.close(); line = None
        time.sleep(0.005)
asks = [{"web": web, "echo": echo}[kind] for kind in kinds]
threads = [threading.Thread(target=work, args=(ask, keep)) for ask in asks for keep in (True, False)]
for thread in threads: thread.start()
print("begun", flush=True)
sys.stdin.read(); ended.set()
for thread in threads: thread.join()
print(json.dumps({"asked": len(asked), "sources": sorted(set(asked)), "failed": failed}), flush=True)
"""


@contextmanager
def load(host: Steered, witness: Witness, *kinds: str) -> Iterator[dict[str, Any]]:
    """Have requests without end while the block runs; what became of them is filled in at its end."""
    headers = [("Host", "records.example"), host.token(sub="ada", role="admin"), witness.secret]
    argv = on.command(host.lab, world.INSTANCE, [sys.executable, "-c", _LOAD, SHARED[0], json.dumps(headers), *kinds])
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    found: dict[str, Any] = {}
    try:
        yield found
    finally:
        told, _ = process.communicate("", timeout=60)
        found.update(json.loads(told.splitlines()[-1]))


def test_a_new_policy_takes_effect_without_losing_a_request(host: Steered, witness: Witness) -> None:
    before = taken(host, witness)
    with load(host, witness, "web") as found:
        for _ in range(3):
            put(host, policy_text(rules=MOVED))
            after = taken(host, witness)
            put(host, POLICY.read_text())
    again = taken(host, witness)

    assert (before, after, again) == (world.seen_as("wg-a")[0], world.seen_as("wg-b")[0], world.seen_as("wg-a")[0])
    assert found["failed"] == []
    assert found["sources"] == sorted((before, after))


def test_plain_tcp_is_moved_without_a_refusal_and_what_runs_elsewhere_ends(host: Steered, witness: Witness) -> None:
    with load(host, witness, "echo") as found:
        put(host, policy_text(rules=MOVED))
        put(host, POLICY.read_text())
        put(host, policy_text(rules=MOVED))

    # a flow that has another profile now is ended, and the next connection has it from the start
    assert [one for one in found["failed"] if "abort" not in one[2]] == []
    assert [one for one in found["failed"] if not one[1]] == []


def test_a_new_profile_with_limits_is_taken_into_use_without_losing_a_request(host: Steered, witness: Witness) -> None:
    profile = {
        "name": "measured",
        "encryption": "strong",
        "select": {"names": ["wg-b"]},
        "limits": {"requests": {"rate": 100000}, "bandwidth": "1Gbit"},
    }
    text = policy_text(
        profiles=[profile, *_profiles()],
        rules=[{"name": "new", "when": 'user.role == "admin" && destination.name == "records"', "profile": "measured"}],
    )
    with load(host, witness, "web") as found:
        put(host, text)
        after = taken(host, witness)

    assert after == world.seen_as("wg-b")[0]
    assert found["failed"] == []


def only(users: str) -> str:
    """A policy by which these users read what is public, and nobody else does anything."""
    return policy_text(
        rules=[{"name": "read", "when": f'destination.name == "public" && {users}', "profile": "plain"}],
    )


def test_a_user_whom_a_policy_begins_to_name_ends_what_he_was_connected_by_as_one_of_many(host: Steered) -> None:
    put(host, only("process.uid != 2004"))
    with connected_as(host, 2005) as client, connected_as(host, 2006) as other:
        assert (client(), other()) == (200, 200)
        put(host, only("!(process.uid in [2004, 2005])"))
        until(lambda: client() != 200, "the connection has no rights of before", within=5)
        assert other() == 200


def test_a_user_whom_a_policy_names_no_more_does_not_become_the_one_whom_it_names_instead(host: Steered) -> None:
    put(host, only("process.uid == 2005"))
    with connected_as(host, 2005) as before:
        assert before() == 200
        put(host, only("process.uid == 2006"))
        assert before() == 403
        with connected_as(host, 2006) as now:
            assert (now(), before()) == (200, 403)


@contextmanager
def connected_as(host: Steered, uid: int) -> Iterator[Callable[[], int]]:
    """Ask again and again on one connection of this user, and return the status, 0 once the connection has ended."""

    def ask() -> int:
        try:
            return client.ask("/x", host="public.example").status
        except (Fault, BrokenPipeError):  # the client ended with its connection
            return 0

    with clients.connected(host.lab, SHARED[0], 80, uid=uid) as client:
        yield ask


def _profiles() -> list[Any]:
    import yaml

    return list(yaml.safe_load(POLICY.read_text())["profiles"])


BAD = {
    "unknown attribute": policy_text(rules=[{"name": "x", "when": 'user.rolle == "admin"', "profile": "vault"}]),
    "unknown profile": policy_text(rules=[{"name": "x", "when": "true", "profile": "vualt"}]),
    "no mapping": "- 1\n- 2\n",
    "not YAML": "rules: [",
    "no key file": policy_text(
        identity={"jwt": {"issuer": "https://id.example", "audiences": ["pointsman"], "keys": "gone.json"}}
    ),
    "too many entries": policy_text(
        profiles=[{"name": f"p{n}", "encryption": "none"} for n in range(120)],
        rules=[{"name": "x", "when": 'request.method == "GET"', "profile": "p1"}],
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_policy_changes_nothing(host: Steered, witness: Witness, what: str) -> None:
    before = host.status()
    file = host.lab.node / "bad.yaml"
    file.write_text(BAD[what])

    with load(host, witness, "web") as found:
        done = host.run("pointsman", "policy", "apply", str(file))

    after = host.status()
    assert (done.returncode, bool(done.stderr.strip()), "Traceback" in done.stderr) == (1, True, False), done.stderr
    assert (after["policy"], after["profiles"]) == (before["policy"], before["profiles"])
    assert found["failed"] == []
    assert host.agent.poll() is None
    host.kill()
    host.restart()
    assert host.status()["policy"] == before["policy"]


def test_every_problem_of_a_bad_policy_is_told_at_once(host: Steered) -> None:
    rules = [{"name": f"x{n}", "when": f"user.rolle{n} == 'a'", "profile": "vault"} for n in range(3)]
    file = host.lab.node / "bad.yaml"
    file.write_text(policy_text(rules=rules))

    done = host.run("pointsman", "policy", "apply", str(file))

    assert done.returncode == 1
    assert [f"rolle{n}" in done.stderr for n in range(3)] == [True] * 3


def test_a_restarted_agent_goes_on_with_the_applied_policy(host: Steered, witness: Witness) -> None:
    put(host, policy_text(rules=MOVED))
    (host.lab.node / "next.yaml").unlink()

    host.kill()
    host.restart()

    assert taken(host, witness) == world.seen_as("wg-b")[0]


def test_a_policy_that_was_changed_at_its_place_comes_before_the_one_applied(host: Steered, witness: Witness) -> None:
    put(host, policy_text(rules=MOVED))
    own = host.lab.node / "policy.yaml"
    own.write_text(POLICY.read_text() + "\n# changed\n")

    host.kill()
    host.restart()

    assert taken(host, witness) == world.seen_as("wg-a")[0]


def test_a_policy_that_was_broken_at_its_place_leaves_the_one_applied_and_says_so(
    host: Steered, witness: Witness
) -> None:
    put(host, policy_text(rules=MOVED))
    own = host.lab.node / "policy.yaml"
    good = own.read_text()
    own.write_text("rules: [")

    host.kill()
    host.restart()
    warnings = host.status()["warnings"]
    own.write_text(good)

    assert taken(host, witness) == world.seen_as("wg-b")[0]
    assert any("the policy applied before goes on" in warning for warning in warnings)


def test_a_node_file_that_names_another_policy_is_followed(host: Steered, witness: Witness) -> None:
    put(host, POLICY.read_text())
    (host.lab.node / "other.yaml").write_text(policy_text(rules=MOVED))
    change_node(host.lab.node / "node.yaml", {"policy": "other.yaml"})

    host.kill()
    host.restart()
    found = taken(host, witness)
    change_node(host.lab.node / "node.yaml", {"policy": "policy.yaml"})

    assert found == world.seen_as("wg-b")[0]
