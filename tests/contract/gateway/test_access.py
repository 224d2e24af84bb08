"""Who may ask a gateway, for what, and how much of it a single one can take."""

import base64
import json
import os
import subprocess
import sys
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509 import CertificateSigningRequestBuilder, Name

from pointsman.lab.wait import until
from pointsman.system.certificates import authority, issue
from pointsman.tunnels.drivers import uapi
from pointsman.tunnels.preshared import preshared_key
from tests.contract.gateway.far_end import SECRET, SITE, World


def asked(**changed: object) -> dict[str, object]:
    """A request for a WireGuard tunnel with a new key."""
    key = base64.b64encode(os.urandom(32)).decode()
    return {"kind": "wireguard", "public_key": key, "ttl": 60, **changed}


def labels(answer: Any) -> list[str]:
    return sorted(problem["label"] for problem in answer["problems"])


def test_only_a_node_with_a_certificate_of_the_gateways_authority_is_answered(gate: World) -> None:
    nobody = gate.curl("GET", "/v1/status")
    stranger = gate.curl("GET", "/v1/status", *gate.proof("alpha", authority("others", 1)))
    nameless = issue(gate.ca, "alpha", server=False, days=1, alternatives=["urn:something:else"])
    gate.written("nameless.crt", nameless.certificate)
    gate.written("nameless.key", nameless.key)
    unnamed = gate.curl(
        "GET", "/v1/status", "--cert", str(gate.folder / "nameless.crt"), "--key", str(gate.folder / "nameless.key")
    )

    assert nobody == stranger == (0, None)
    assert (unnamed[0], unnamed[1]["label"]) == (403, "not-a-node")
    assert gate.ask("GET", "/v1/status")[0] == 200
    old = gate.curl("GET", "/v1/status", "--tls-max", "1.2", *gate.proof("alpha"))
    assert old == (0, None)


def test_a_gateway_that_cannot_use_its_key_says_so_and_leaves_the_host_as_it_is(world: World) -> None:
    world.written("gateway.key", issue(world.ca, "gw", server=True, days=1).key)
    argv = [sys.executable, "-m", "pointsman", "gateway", "up", "-c", str(world.folder / "gateway.yaml")]
    done = subprocess.run(
        ["ip", "netns", "exec", world.spaces["gate"], *argv], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, "gateway.key` is not the key of `" in done.stderr) == (1, True), done.stderr
    assert not (world.folder / "run").exists()
    assert "pointsman" not in world.run("gate", "nft", "list", "tables")


def test_a_node_neither_sees_nor_ends_nor_renews_the_tunnels_of_another(gate: World) -> None:
    assert gate.ask("PUT", "/v1/tunnels/a", asked(), "alpha")[0] == 201

    assert gate.ask("GET", "/v1/tunnels", node="beta") == (200, [])
    assert gate.ask("POST", "/v1/renew", {"ids": ["a"], "ttl": 60}, "beta") == (200, {"renewed": [], "unknown": ["a"]})
    assert gate.ask("DELETE", "/v1/tunnels/a", node="beta") == (204, None)
    assert gate.ask("PUT", "/v1/tunnels/a", asked(), "beta")[0] == 201
    assert [(tunnel["node"], tunnel["id"]) for tunnel in gate.tunnels()] == [("alpha", "a"), ("beta", "a")]


def test_the_same_request_has_the_same_answer_and_another_one_is_a_conflict(gate: World) -> None:
    request = asked()
    first, second = (gate.ask("PUT", "/v1/tunnels/a", request) for _ in range(2))
    other = gate.ask("PUT", "/v1/tunnels/a", asked())

    assert (first[0], second[0], other[0]) == (201, 200, 409)
    assert {**first[1], "expires_in": 0} == {**second[1], "expires_in": 0}
    assert labels(other[1]) == ["id-taken"]


def test_what_exceeds_the_capacity_is_refused_with_all_reasons(world: World) -> None:
    world.write_site(capacity={"tunnels": 2, "perNode": 2, "bandwidth": "10Mbit"}, openvpn=None)
    world.start()
    assert world.ask("PUT", "/v1/tunnels/a", asked(bandwidth=8_000_000))[0] == 201
    assert world.ask("PUT", "/v1/tunnels/b", asked())[0] == 201

    full = world.ask("PUT", "/v1/tunnels/c", asked(bandwidth=3_000_000))
    unknown = world.ask("PUT", "/v1/tunnels/d", {"kind": "openvpn", "csr": csr_of_rsa(), "ttl": 5})
    wrong = world.ask("PUT", "/v1/tunnels/e", asked(public_key="AAAA"))

    assert (full[0], labels(full[1])) == (507, ["bandwidth-used-up", "node-used-up", "tunnels-used-up"])
    assert (unknown[0], labels(unknown[1])) == (422, ["bad-key"])
    assert (wrong[0], labels(wrong[1])) == (422, ["bad-key"])
    assert world.ask("DELETE", "/v1/tunnels/a")[0] == 204
    assert world.ask("PUT", "/v1/tunnels/c", asked(bandwidth=3_000_000))[0] == 201


def test_the_gateways_own_key_is_refused_and_the_next_tunnel_is_made(gate: World) -> None:
    own = gate.ask("PUT", "/v1/tunnels/a", asked())[1]["public_key"]

    refused = gate.ask("PUT", "/v1/tunnels/b", asked(public_key=own, qos="bulk"))

    assert (refused[0], labels(refused[1])) == (422, ["bad-key"])
    assert gate.ask("PUT", "/v1/tunnels/c", asked())[0] == 201


def test_a_tunnel_that_nobody_renews_is_removed_and_a_renewed_one_stays(gate: World) -> None:
    assert gate.ask("PUT", "/v1/tunnels/short", asked(ttl=2))[0] == 201
    assert gate.ask("PUT", "/v1/tunnels/renewed", asked(ttl=2))[0] == 201
    assert gate.ask("POST", "/v1/renew", {"ids": ["renewed"], "ttl": 600})[1]["renewed"] == ["renewed"]
    gate.kill()
    gate.start()

    until(lambda: [tunnel["id"] for tunnel in gate.tunnels()] == ["renewed"], "the other one has expired")
    assert "own4" in (rules := gate.run("gate", "nft", "list", "table", "inet", "pointsman_gateway"))
    assert "10.71.0.2" not in rules


def test_who_connects_and_says_nothing_is_sent_away_and_holds_up_nobody(gate: World) -> None:
    gate.proof("slow")
    script = SLOW.format(folder=gate.folder)
    command = ["ip", "netns", "exec", gate.spaces["other"], sys.executable, "-I", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as slow:
        assert slow.stdout is not None
        assert slow.stdout.readline() == "open\n"
        begun = time.monotonic()
        assert gate.ask("PUT", "/v1/tunnels/a", asked())[0] == 201
        assert time.monotonic() - begun < 3
        # without a handshake, without a request, without the end of a body
        assert sorted(slow.stdout.read().split()) == ["bare", "body", "silent"]


# Opens connections that keep the gateway waiting, and says which of them the gateway has ended
SLOW = """
import select, socket, ssl
context = ssl.create_default_context(cafile="{folder}/ca.crt")
context.load_cert_chain("{folder}/slow.crt", "{folder}/slow.key")
lines = {{}}
for name in ("bare", "silent", "body"):
    line = socket.create_connection(("192.0.2.21", 7443))
    if name != "bare":
        line = context.wrap_socket(line, server_hostname="192.0.2.21")
    if name == "body":
        line.sendall(b"PUT /v1/tunnels/x HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 100\\r\\n\\r\\n{{")
    lines[line] = name
print("open", flush=True)
while lines:
    ready = select.select(lines, [], [], 25)[0]
    if not ready: break
    for line in ready:
        try: more = line.recv(4096)
        except OSError: more = b""
        if not more or b"408" in more: print(lines.pop(line), flush=True)
"""


def csr_of_rsa() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    made = CertificateSigningRequestBuilder().subject_name(Name([])).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/tunnels/UPPER", 404), ("/v1/tunnels/a%2f..%2fb", 404), ("/v1/nothing", 404)]
)
def test_a_path_that_names_no_tunnel_is_not_found(gate: World, path: str, status: int) -> None:
    assert gate.ask("PUT", path, asked())[0] == status


def test_a_body_that_is_too_large_is_refused_and_many_tunnels_are_renewed_at_once(gate: World) -> None:
    gate.written("large", "x" * 20_000)
    status, answer = gate.curl("PUT", "/v1/tunnels/a", "--data-binary", f"@{gate.folder}/large", *gate.proof("alpha"))
    gate.written("many", json.dumps({"ids": [f"{number:060}" for number in range(10_000)], "ttl": 60}))
    many = gate.curl("POST", "/v1/renew", "--data-binary", f"@{gate.folder}/many", *gate.proof("alpha"))

    assert (status, answer["label"]) == (413, "too-large")
    assert (many[0], len(many[1]["unknown"])) == (200, 10_000)


def test_a_preshared_key_is_worked_out_from_what_is_shared_with_that_node(world: World) -> None:
    beta = b"b" * 32
    world.written("beta.secret", base64.b64encode(beta).decode())
    world.write_site(api={**SITE["api"], "secrets": {"beta": "beta.secret"}})
    world.start()
    world.up(world.grant("wireguard", "a"))  # with a key that this end worked out by itself
    told = asked(preshared=True)
    server = world.ask("PUT", "/v1/tunnels/a", told, "beta")[1]["public_key"]

    socket = world.folder / "run" / "wireguard" / "run" / "wireguard" / "wg0.sock"
    settings = uapi.understand(uapi.exchange(socket, "get=1\n\n")).settings
    public = str(told["public_key"])
    expected = preshared_key(beta, "a", public, server)
    assert (uapi.hexadecimal(public), "preshared_key", uapi.hexadecimal(expected)) in settings
    assert beta != SECRET


def test_a_node_that_shares_no_secret_gets_no_tunnel_with_a_preshared_key(world: World) -> None:
    world.write_site(api={name: said for name, said in SITE["api"].items() if name != "secret"})
    world.start()

    refused = world.ask("PUT", "/v1/tunnels/a", asked(preshared=True))

    assert (refused[0], labels(refused[1])) == (422, ["no-secret"])
    assert world.tunnels() == []
