"""Tunnels of single holders: they come when somebody needs one, are used by nobody else, and leave nothing behind."""

import base64
import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from pointsman.lab import clients, instance, world
from pointsman.lab import exec as on
from pointsman.lab import gateway as gateways
from pointsman.lab.clients import Answer
from pointsman.lab.keys import write_private
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.lab.watch import Witness
from pointsman.tunnels.demand import DRAIN
from pointsman.tunnels.drivers import uapi, userspace
from pointsman.tunnels.port import berth
from tests.lab.steered import HERE, PATIENCE, Steered, change_node, policy_text, steering

POLICY = HERE / "holders.yaml"
RECORDS, NAME = "198.51.100.82", "records.example"
VAULT = ("gw-a", "gw-b")
SHUT = "add table inet shut\nadd chain inet shut in { type filter hook input priority -10; }\n"


@pytest.fixture
def host(lab: Lab, witness: Witness) -> Iterator[Steered]:
    with steering(lab, POLICY) as made:
        yield made
        if made.agent.poll() is None:
            made.tell("down")


def ask(host: Steered, witness: Witness, path: str, user: str = "", uid: int = 1000, **claims: object) -> Answer:
    told = [host.token(sub=user, **claims)] if user else []
    with clients.connected(host.lab, RECORDS, 80, uid=uid) as client:
        return client.ask(f"{path}?{witness.canary.decode()}", host=NAME, headers=told)


def leases(host: Steered) -> dict[tuple[str, str], str]:
    return {(one["profile"], one["holder"]): one["tunnel"] for one in host.json("leases", "list")["leases"]}


def there(lab: Lab) -> set[str]:
    """The tunnels that the instance has at all gateways together."""
    found: set[str] = set()
    for gateway in world.GATEWAYS:
        runtime = str(lab.home(gateway.host) / "gateway")
        told = on.demand(lab, gateway.host, ["pointsman", "gateway", "tunnels", "--runtime", runtime, "--json"])
        found |= {one["id"] for one in json.loads(told) if one["node"]}
    return found


def links(host: Steered) -> set[str]:
    told = json.loads(host.run("ip", "-j", "link").stdout)
    return {one["ifname"] for one in told if one["ifname"].startswith("pm")}


def lane_of(host: Steered, path: str) -> str:
    def records() -> list[Any]:
        lines = (host.lab.runtime / "proxy" / "decisions.log").read_text().splitlines()
        return [one for one in map(json.loads, lines) if one.get("path") == path]

    until(lambda: bool(records()), f"{path} is on record", within=PATIENCE)
    return str(records()[-1]["lane"])


def test_a_first_request_waits_for_its_tunnel_and_nobody_else_uses_it(host: Steered, witness: Witness) -> None:
    answers = [ask(host, witness, f"/own/{user}", user) for user in ("ada", "bob")]

    held = leases(host)
    assert [answer.status for answer in answers] == [200, 200]
    assert held["own", "ada"] != held["own", "bob"]
    assert lane_of(host, "/own/ada") == f"own@{held['own', 'ada']}"
    assert lane_of(host, "/own/bob") == f"own@{held['own', 'bob']}"


def test_first_requests_at_once_share_one_tunnel_in_the_making(host: Steered, witness: Witness) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda number: ask(host, witness, f"/own/{number}", "carl"), range(6)))

    assert [answer.status for answer in answers] == [200] * 6
    assert {lane_of(host, f"/own/{number}") for number in range(6)} == {f"own@{leases(host)['own', 'carl']}"}


def test_holders_are_told_apart_as_the_profile_says(host: Steered, witness: Witness) -> None:
    answers = [
        ask(host, witness, "/team/1", "ada", team="red"),
        ask(host, witness, "/team/2", "bob", team="red"),
        ask(host, witness, "/team/3", "eve"),
        ask(host, witness, "/each/1", uid=1000),
        ask(host, witness, "/each/2", uid=1001),
        ask(host, witness, "/ruled/1"),
    ]

    assert [answer.status for answer in answers] == [200, 200, 403, 200, 200, 200]
    assert set(leases(host)) == {("team", "red"), ("each", "1000"), ("each", "1001"), ("ruled", "ruled-records")}


def test_a_known_holder_needs_no_agent(host: Steered, witness: Witness) -> None:
    assert ask(host, witness, "/own/1", "ada").status == 200
    compiled = host.lab.runtime / "envoy" / "rds" / "rds.json"
    until(lambda: f"own@{leases(host)['own', 'ada']}" in compiled.read_text(), "the tree knows the holder")
    host.kill()

    assert ask(host, witness, "/own/2", "ada").status == 200
    assert ask(host, witness, "/own/3", "somebody-new").status == 503
    host.restart()
    assert ask(host, witness, "/own/4", "ada").status == 200


def test_where_no_gateway_answers_the_request_is_refused_in_time(host: Steered, witness: Witness) -> None:
    until(lambda: len(host.json("leases", "list")["spares"]) >= 2, "spare tunnels wait", within=PATIENCE)
    _gateways(host.lab, "add rule inet shut in tcp dport 7443 drop")
    try:
        for user in ("one", "two"):  # these have the spare ones
            assert ask(host, witness, f"/own/{user}", user).status == 200
        begun = time.monotonic()
        answers = [ask(host, witness, "/own/last", user) for user in ("three", "four", "five")]
        refused = [answer for answer in answers if answer.status == 503]
        assert refused
        assert "profile `own`" in refused[0].json()["detail"]
        assert time.monotonic() - begun < 3 * 5
    finally:
        _gateways(host.lab, "delete table inet shut")


def test_a_revoked_lease_ends_within_a_second_on_both_sides(host: Steered, witness: Witness) -> None:
    ada = {"host": NAME, "headers": [host.token(sub="ada")]}

    def carried(client: clients.Client, well: int) -> tuple[float, float]:
        """Return when the last answer came, and when it was told that there is no other."""
        answered = [time.monotonic()]

        def over() -> bool:
            if client.ask("/own/x", **ada, body="x").status != well:
                return True
            answered.append(time.monotonic())
            return False

        until(over, "it is refused", within=PATIENCE)
        return answered[-1], time.monotonic()

    with (
        clients.connected(host.lab, RECORDS, 80) as kept,
        clients.connected(host.lab, RECORDS, 80, "websocket") as socket,
        ThreadPoolExecutor(2) as pool,
    ):
        assert (kept.ask("/own/1", **ada).status, socket.ask("/own/ws", **ada).status) == (200, 101)
        tunnel = leases(host)["own", "ada"]
        ends = pool.submit(carried, kept, 200), pool.submit(carried, socket, 101)
        begun = time.monotonic()
        on.told(host.lab.runtime, "/v1/leases/revoke", {"profile": "own", "holder": "ada", "ban": 3600})
        took = [(last - begun, ended - begun) for last, ended in (end.result() for end in ends)]

    assert max(last for last, _ in took) < 1.0, took
    # the proxy keeps a connection that it closes for one second more, and carries nothing on it
    assert max(ended for _, ended in took) < 2.0, took
    assert ("own", "ada") not in leases(host)
    assert tunnel not in there(host.lab)
    assert host.json("leases", "revoke", "own", "ada", "--for", "1h") == {"revoked": False}
    assert ask(host, witness, "/own/2", "ada").status == 503


def test_new_keys_take_over_without_losing_a_request(host: Steered, witness: Witness) -> None:
    assert ask(host, witness, "/own/1", "ada").status == 200
    before = leases(host)["own", "ada"]
    statuses: list[int] = []
    with ThreadPoolExecutor(1) as pool, clients.connected(host.lab, RECORDS, 80) as client:
        rotated = pool.submit(host.tell, "leases", "rotate", before)
        while not rotated.done() or len(statuses) < 50:
            statuses.append(client.ask("/own/x", host=NAME, headers=[host.token(sub="ada")]).status)
    rotated.result()

    assert set(statuses) == {200}
    assert leases(host)["own", "ada"] != before
    assert old_keys(host, before)  # they are needed while it drains
    until(lambda: not old_keys(host, before) and before not in there(host.lab), "the old keys are gone", within=60)


def test_keys_tell_how_old_they_are(host: Steered, witness: Witness) -> None:
    assert ask(host, witness, "/own/1", "ada").status == 200
    tunnel = leases(host)["own", "ada"]

    def age() -> float:
        told = on.told(host.lab.runtime, "/v1/leases")["leases"]
        return next(float(one["key_age"]) for one in told if one["tunnel"] == tunnel)

    young, begun = age(), time.monotonic()
    _pause(3)
    grown, passed = age() - young, time.monotonic() - begun

    assert 0 <= young < 120
    assert abs(grown - passed) < 0.5
    line = httpx.HTTPTransport(uds=str(host.lab.runtime / "control.sock"))
    with httpx.Client(transport=line, base_url="http://pointsman", timeout=15) as client:
        told = client.get("/metrics").text
    measured = told.partition(f'pointsman_tunnel_key_age_seconds{{tunnel="{tunnel}"}} ')[2].partition("\n")[0]
    assert -0.5 < float(measured) - young - passed < 10


def test_a_quantum_tunnel_mixes_in_a_key_of_its_own_that_never_travels(lab: Lab, witness: Witness) -> None:
    secret = lab.node / "own.secret"
    write_private(secret, (lab.node / gateways.SHARED_FILE).read_text())
    with steering(lab, quantum_policy(), gateways=quantum_gateways(lab)) as host:
        assert [ask(host, witness, "/own/1", user).status for user in ("ada", "bob")] == [200, 200]
        here = {preshared(tunnel_socket(lab, tunnel)) for tunnel in leases(host).values()}
        there_ = set().union(*(all_preshared(server_socket(lab, name)) for name in VAULT))

        assert len(here) == 2
        assert here <= there_
        assert "0" * 64 not in here
        logs = b"".join(path.read_bytes() for path in lab.folder.rglob("*.log"))
        keys = [base64.b64encode(bytes.fromhex(key)) for key in here]
        assert [key for key in (*keys, secret.read_bytes().strip()) if key in logs] == []

        kept = secret.read_text()
        secret.write_text(base64.b64encode(b"another secret, of 32 bytes, yes").decode())
        answer = ask(host, witness, "/own/2", "eve")
        secret.write_text(kept)
        assert answer.status == 503
        assert "was not made within" in answer.json()["detail"]
        assert ask(host, witness, "/own/3", "ada").status == 200  # who has a tunnel keeps it
        host.tell("down")


def test_an_idle_tunnel_is_taken_down(lab: Lab, witness: Witness) -> None:
    profile = {"name": "own", "encryption": "strong", "dedicated": "per-user", "provision": {"idle": "6s"}}
    rule = {"name": "own-records", "when": 'request.path.startsWith("/own/")', "profile": "own"}
    with steering(lab, policy_text(POLICY, profiles=[profile], rules=[rule])) as host:
        assert ask(host, witness, "/own/1", "ada").status == 200
        tunnel = leases(host)["own", "ada"]
        until(lambda: tunnel not in there(lab), "it is gone at its gateway", within=DRAIN + PATIENCE)

        assert leases(host) == {}
        host.tell("down")


@pytest.mark.parametrize("after", [0.0, 0.03, 0.06, 0.1, 0.15, 0.25])
def test_a_crash_at_any_step_leaves_no_orphan(host: Steered, witness: Witness, after: float) -> None:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, host, witness, "/own/1", f"user-{after}")
        _pause(after)
        host.kill(signal.SIGKILL)
        asked.result()
    host.restart()
    assert ask(host, witness, "/own/2", f"user-{after}").status == 200

    def agree() -> bool:
        told = host.json("leases", "list")
        named = {one["tunnel"] for one in told["leases"]} | {one["tunnel"] for one in told["spares"]}
        files = {path.stem for path in (host.lab.runtime / "made").glob("*.json")}
        folders = {path.name for path in (host.lab.runtime / "tunnels").iterdir()}
        own = {"wg-a", "wg-b", "ovpn-c"}
        devices = {one["device"] for one in host.status()["tunnels"] if one["device"].startswith("pm")}
        return named == files == there(host.lab) == folders - own and links(host) == devices

    until(agree, "both sides have the same tunnels", within=PATIENCE)


def test_what_the_node_file_does_not_name_any_more_goes_when_the_agent_starts_again(
    host: Steered, witness: Witness
) -> None:
    assert ask(host, witness, "/own/1", "ada").status == 200
    before = leases(host)["own", "ada"]
    host.kill()
    file = host.lab.node / "node.yaml"
    named = yaml.safe_load(file.read_text())
    kept = [one for one in named["gateways"] if not before.startswith(f"{one['name']}-")]
    change_node(file, {"gateways": kept, "tunnels": [one for one in named["tunnels"] if one["name"] != "wg-b"]})
    host.restart()

    assert ask(host, witness, "/own/2", "ada").status == 200
    assert leases(host)["own", "ada"] != before

    def agree() -> bool:
        devices = {one["device"] for one in host.status()["tunnels"] if one["device"].startswith("pm")}
        folders = {path.name for path in (host.lab.runtime / "tunnels").iterdir()}
        return links(host) == devices and not folders & {before, "wg-b"} and not old_keys(host, before)

    until(agree, "nothing is left of them", within=PATIENCE)


def test_a_policy_that_asks_for_more_takes_away_the_tunnels_that_are_less(host: Steered, witness: Witness) -> None:
    assert ask(host, witness, "/own/1", "ada").status == 200
    before = leases(host)["own", "ada"]
    file = host.lab.node / "more.yaml"
    file.write_text(quantum_policy())
    host.tell("policy", "apply", str(file))

    try:
        assert ask(host, witness, "/own/2", "ada").status == 503  # no gateway here makes such tunnels
        until(lambda: before not in there(host.lab) and not old_keys(host, before), "it is gone", within=PATIENCE)
        assert leases(host) == {}
    finally:  # what was applied outlives the agent
        host.tell("policy", "apply", str(host.lab.node / "policy.yaml"))


def test_down_leaves_nothing_here_and_there(host: Steered, witness: Witness) -> None:
    assert ask(host, witness, "/own/1", "ada").status == 200
    host.tell("down")

    assert there(host.lab) == set()
    assert links(host) == set()
    assert list((host.lab.runtime / "made").glob("*.json")) == []


def _pause(seconds: float) -> None:
    """Let the agent get to some step of its work; which one is what the test tries out."""
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() >= end, "the time is over")


def _gateways(lab: Lab, last: str) -> None:
    opening = "" if last.startswith("delete") else SHUT
    for name in VAULT:
        on.demand(lab, name, ["nft", "-f", "-"], given=opening + last)


def old_keys(host: Steered, tunnel: str) -> list[Path]:
    """Return what is left of a tunnel's keys on the instance."""
    return [path for name in ("made", "tunnels") for path in (host.lab.runtime / name).glob(f"{tunnel}*")]


def quantum_policy() -> str:
    own = {"name": "own", "encryption": "quantum", "dedicated": "per-user"}
    rule = {"name": "own-records", "when": 'request.path.startsWith("/own/")', "profile": "own"}
    return policy_text(POLICY, profiles=[own], rules=[rule])


def quantum_gateways(lab: Lab) -> list[Any]:
    """Return the WireGuard gateways of the node file as ones that share a secret with the instance."""
    found = yaml.safe_load(instance.write_node(lab, None).read_text())["gateways"]
    more = {"level": "quantum", "secret": "own.secret", "spares": {"least": 0, "most": 0}}
    return [{**one, **more} for one in found if one["kind"] == "wireguard"]


def tunnel_socket(lab: Lab, tunnel: str) -> Path:
    return userspace.socket_path(berth(lab.runtime, tunnel, 0, 0))


def server_socket(lab: Lab, gateway: str) -> Path:
    return lab.home(gateway) / "gateway" / "wireguard" / "run" / "wireguard" / "wg0.sock"


def all_preshared(socket: Path) -> set[str]:
    settings = uapi.understand(uapi.exchange(socket, "get=1\n\n")).settings
    return {said[2] for said in settings if said[1] == "preshared_key"}


def preshared(socket: Path) -> str:
    [key] = all_preshared(socket)
    return key
