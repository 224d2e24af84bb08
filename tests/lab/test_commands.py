"""The command line against a real agent: what it prints for programs, its exit codes, and that it tells the truth."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from pointsman.lab import clients, world
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.lab.watch import Witness
from tests.lab.steered import PATIENCE, POLICY, SHARED, Steered, seen_in_clear, steering


@pytest.fixture(scope="module")
def host(lab: Lab, witness: Witness) -> Iterator[Steered]:
    with steering(lab, POLICY) as made:
        assert seen_in_clear(made, witness, "http1", "grpc") == 2
        yield made


RECORDS, PUBLIC, PAY = "198.51.100.82", "198.51.100.80", "198.51.100.81"
# host, address, method, path, claims, further headers
REQUESTS: list[tuple[str, str, str, str, dict[str, str], dict[str, str]]] = [
    ("records.example", RECORDS, "GET", "/patients/7", {"sub": "ada", "role": "admin"}, {}),
    ("records.example", RECORDS, "DELETE", "/patients/7", {"sub": "ada", "role": "admin"}, {}),
    ("records.example", RECORDS, "GET", "/patients/7", {"sub": "bob", "role": "clerk"}, {}),
    ("records.example", RECORDS, "POST", "/patients/7", {"sub": "bob", "role": "clerk"}, {}),
    ("records.example", RECORDS, "GET", "/patients/7", {"sub": "eve", "role": "Admin"}, {}),
    ("records.example", RECORDS, "GET", "/patients/7", {}, {"x-role": "admin"}),
    ("RECORDS.example:80", RECORDS, "GET", "/", {"role": "admin"}, {}),
    ("records.example.", RECORDS, "GET", "/", {"role": "admin"}, {}),
    ("records.example", PUBLIC, "GET", "/", {"role": "admin"}, {}),
    ("public.example", PUBLIC, "GET", "/news?draft=/drafts/", {}, {}),
    ("public.example", PUBLIC, "GET", "/drafts/x", {}, {}),
    ("public.example", PUBLIC, "GET", "/a/../drafts/x", {}, {}),
    ("public.example", PUBLIC, "GET", "//drafts/x", {}, {}),
    ("public.example", PUBLIC, "GET", "/Drafts/x", {}, {}),
    ("public.example", PUBLIC, "GET", "/%64rafts/x", {}, {}),
    ("public.example", PUBLIC, "GET", "/a%2fb", {}, {}),
    ("public.example", PUBLIC, "POST", "/upload", {}, {}),
    ("public.example", PUBLIC, "POST", "/upload/", {}, {}),
    ("public.example", PUBLIC, "OPTIONS", "/x", {}, {}),
    ("public.example", PUBLIC, "PROPFIND", "/x", {}, {}),
    ("pay.example", PAY, "POST", "/charge", {"role": "clerk"}, {}),
    ("pay.example", PAY, "POST", "/charge", {"role": "guest"}, {}),
    ("sub.pay.example", PAY, "POST", "/charge", {"role": "clerk"}, {}),
    ("198.51.100.81", PAY, "GET", "/", {"role": "clerk"}, {}),
    ("pay_example", PAY, "GET", "/", {"role": "clerk"}, {}),
    ("pay.example,public.example", PAY, "GET", "/", {"role": "clerk"}, {}),
]


@pytest.mark.parametrize(("name", "address", "method", "path", "claims", "headers"), REQUESTS)
def test_the_explanation_says_what_then_happens(
    host: Steered,
    witness: Witness,
    name: str,
    address: str,
    method: str,
    path: str,
    claims: dict[str, str],
    headers: dict[str, str],
) -> None:
    sent = [*headers.items(), *([host.token(**claims)] if claims else [])]
    flags = [part for key, value in [("host", name), *sent] for part in ("-H", f"{key}: {value}")]

    told = host.json("explain", f"http://{address}{path}", "-X", method, "--address", address, "--uid", "1000", *flags)
    with clients.connected(host.lab, address, 80) as client:
        answer = client.ask(path, host=name, method=method, headers=[*sent, *secret(told, witness)])

    assert happened(answer) == promised(told)


def secret(told: Any, witness: Witness) -> list[tuple[str, str]]:
    """Return the header that goes with everything that is not promised to leave in the clear."""
    return [] if told["tunnel"] == "direct" else [witness.secret]


def promised(told: Any) -> tuple[str, str]:
    """Return what an explanation says: the rule, and the status or the source address."""
    if told["profile"]:
        return "", world.seen_as(told["tunnel"])[0]
    return told["rule"], told["decision"].partition("(")[2][:3]


def happened(answer: clients.Answer) -> tuple[str, str]:
    if answer.status == 200:
        return "", answer.json()["source"]
    content = answer.json() if answer.header("content-type") == "application/problem+json" else {}
    return content.get("rule") or "", str(answer.status)


@pytest.mark.parametrize(("method", "role"), [("GetItem", "clerk"), ("PutItem", "clerk"), ("PutItem", "admin")])
def test_the_explanation_of_a_grpc_call_says_what_then_happens(
    host: Steered, witness: Witness, method: str, role: str
) -> None:
    path, token = f"/shop.Store/{method}", host.token(role=role)
    url = f"http://records.example:50051{path}"

    told = host.json("explain", url, "-X", "POST", "--grpc", "--address", RECORDS, "-H", ": ".join(token))
    with clients.connected(host.lab, RECORDS, 50051, "grpc") as client:
        said = witness.canary.decode()
        answer = client.ask(path, host="records.example", headers=[token, witness.secret], body=said)

    if told["profile"]:
        assert (answer.status, answer.json()[0]["source"]) == (0, world.seen_as(told["tunnel"])[0])
    else:
        assert (answer.status, told["rule"] in answer.error) == (7, True)


@pytest.mark.parametrize(
    ("port", "uid"), [(7000, 1000), (7000, 1001), (7001, 1001), (7002, 1000), (22, 1000), (80, 1000)]
)
def test_the_explanation_of_a_plain_flow_says_what_then_happens(
    host: Steered, witness: Witness, port: int, uid: int
) -> None:
    told = host.json("explain", f"tcp://{PUBLIC}:{port}", "--uid", str(uid))

    got = host.talk(PUBLIC, port, b"\x16\x03 " + witness.canary, uid=uid)

    assert (witness.canary in got) == bool(told["profile"]), (got, told["decision"])


def test_the_explanation_names_what_speaks_against_the_other_tunnels(host: Steered) -> None:
    told = host.json("explain", "http://records.example/x", "--claim", "role=admin")

    assert (told["profile"], told["tunnel"]) == ("vault", "wg-a")
    assert sorted({objection.partition(":")[0] for objection in told["objections"]}) == ["direct", "ovpn-c", "wg-b"]
    assert any("gives `none`, needed is `strong`" in objection for objection in told["objections"])


def test_a_curl_line_is_explained(host: Steered) -> None:
    token = ": ".join(host.token(role="clerk"))
    line = f"curl -sXPOST -H'{token}' http://pay.example/charge --data-raw 'a=b'"

    told = host.json("explain", "--curl", line)

    assert (told["rule"], told["profile"]) == ("payment", "payments")


def test_status_and_tunnels_tell_programs_what_is_enforced(host: Steered) -> None:
    status, tunnels = host.status(), host.json("tunnels")

    assert (status["state"], status["policy"]["name"]) == ("open", "steering")
    assert {p["name"]: p["tunnel"] for p in status["profiles"]} == {
        "vault": "wg-a", "archive": "wg-b", "payments": "ovpn-c", "plain": "direct"
    }  # fmt: skip
    assert {t["name"]: (t["kind"], t["state"], t["holder"]) for t in tunnels} == {
        "wg-a": ("wireguard", "up", "vault"),
        "wg-b": ("wireguard", "up", ""),
        "ovpn-c": ("openvpn", "up", ""),
        "direct": ("direct", "up", ""),
    }


def test_people_get_tables(host: Steered) -> None:
    for words in (["status"], ["tunnels"], ["doctor"], ["explain", "http://public.example/"]):
        done = host.run("pointsman", *words)
        assert (done.returncode, bool(done.stdout.strip())) == (0, True), (words, done.stderr)


def test_decisions_are_shown_as_records_and_as_lines(host: Steered, witness: Witness) -> None:
    with clients.connected(host.lab, SHARED[0], 80) as client:
        client.ask("/shown", host="public.example")
        client.ask("/drafts/\x1b[2Jshown", host="public.example", headers=[witness.secret])

    def found() -> list[Any]:
        lines = host.tell("decisions", "tail", "--no-follow", "-n", "50", "--json").splitlines()
        return [one for one in map(json.loads, lines) if one.get("path") == "/shown"]

    until(lambda: len(found()) == 1, "it is on record", within=PATIENCE)
    assert (found()[0]["rule"], found()[0]["lane"], found()[0]["code"]) == ("public-read", "plain@direct", 200)
    lines = host.tell("decisions", "tail", "--no-follow")
    assert "/shown  public-read → plain@direct" in lines
    assert "\x1b" not in lines


def test_the_doctor_finds_this_host_in_order_and_names_what_is_not(host: Steered) -> None:
    findings = host.json("doctor")
    # how many daemons a kernel lets watch a file is the machine's
    assert {f["level"] for f in findings if f["what"] != "userspace WireGuard"} == {"ok"}, findings

    host.run("ip", "rule", "add", "fwmark", "0x100000/0x300000", "lookup", "77", "pref", "50")
    host.run("nft", "add table ip other; add chain ip other out { type nat hook postrouting priority 100; }")
    sick = host.run("pointsman", "doctor", "--json")
    host.run("ip", "rule", "del", "pref", "50")
    host.run("nft", "delete table ip other")

    levels = {f["what"]: f["level"] for f in json.loads(sick.stdout)}
    assert (sick.returncode, levels["foreign rules"], levels["foreign firewall"]) == (1, "problem", "warning")


def test_metrics_count_requests_by_rule_profile_and_tunnel(host: Steered) -> None:
    def counted() -> dict[str, float]:
        lines = [line for line in _metrics(host).splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    name = 'pointsman_requests_total{code="200",profile="plain",rule="public-read",tunnel="direct"}'
    before = counted().get(name, 0)
    with clients.connected(host.lab, SHARED[0], 80) as client:
        for _ in range(3):
            assert client.ask("/", host="public.example").status == 200

    until(lambda: counted().get(name, 0) == before + 3, "they are counted", within=PATIENCE)
    found = counted()
    assert {value for name, value in found.items() if name.startswith("pointsman_misrouted_total{")} == {0}
    assert found['pointsman_tunnel_up{kind="openvpn",tunnel="ovpn-c"}'] == 1


def _metrics(host: Steered) -> str:
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(10)
        line.connect(str(host.lab.runtime / "control.sock"))
        line.sendall(b"GET /metrics HTTP/1.0\r\nHost: pointsman\r\n\r\n")
        return b"".join(iter(lambda: line.recv(65536), b"")).decode().partition("\r\n\r\n")[2]


def test_nobody_but_root_can_ask_the_agent(host: Steered) -> None:
    code = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])"
    for uid in (1000, world.PROXY_USER, world.TUNNEL_USER):
        done = host.run("/usr/bin/python3", "-c", code, str(host.lab.runtime / "control.sock"), uid=uid)
        assert "PermissionError" in done.stderr, done.stderr


EXITS = [
    (["status", "--runtime", "/nowhere"], 3),
    (["break-glass", "--for", "10y", "--reason", "x"], 2),
    (["break-glass", "--reason", " "], 1),
    (["explain"], 2),
    (["explain", "http://"], 1),
    (["explain", "http://a:99999/"], 1),
    (["explain", "--curl", "curl 'http://x"], 1),
    (["policy", "apply", "/nowhere.yaml"], 1),
    (["policy", "check", "/dev/null"], 1),
    (["up", "-c", "/nowhere.yaml"], 1),
    (["no-such-command"], 2),
    (["down", "--runtime", "/nowhere"], 3),
    (["confirm"], 0),
]


@pytest.mark.parametrize(("words", "code"), EXITS, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_every_failure_has_its_exit_code_and_no_traceback(host: Steered, words: list[str], code: int) -> None:
    done = host.run("pointsman", *words)

    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert code == 0 or done.stderr.strip()
