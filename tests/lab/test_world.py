"""The lab itself: real namespaces, gateways and origin, before any agent is on the instance."""

import configparser
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pointsman.lab import clients, instance, life, names, watch, world
from pointsman.lab import exec as on
from pointsman.lab.gateway import pool_file
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.lab.world import GATEWAYS, Gateway
from pointsman.model.fault import Fault
from pointsman.model.problem import Place
from pointsman.model.tunnel import Kind
from pointsman.node.config import load_node
from pointsman.tunnels.pool import load_pool

DIRECT = world.seen_as("direct")
ORIGIN = ("198.51.100.82", "2001:db8:2::82")


def addresses() -> list[tuple[str, str]]:
    return list(zip(ORIGIN, DIRECT, strict=True))


@pytest.mark.parametrize(("address", "source"), addresses())
@pytest.mark.parametrize("kind", ["http1", "http2"])
def test_the_origin_answers_http_with_what_it_saw(lab: Lab, kind: str, address: str, source: str) -> None:
    with clients.connected(lab, address, 80, kind) as client:
        answers = [client.ask(f"/a?n={n}", host="records.example", headers=[("x-n", str(n))]) for n in range(3)]

    seen = [answer.json() for answer in answers]
    assert [(each["source"], each["address"], each["path"]) for each in seen] == [
        (source, address, f"/a?n={n}") for n in range(3)
    ]
    assert [["x-n", str(n)] in each["headers"] for n, each in enumerate(seen)] == [True] * 3
    assert len({each["source_port"] for each in seen}) == 1  # one connection


@pytest.mark.parametrize(("address", "source"), addresses())
def test_the_origin_answers_grpc_message_by_message_with_a_trailer(lab: Lab, address: str, source: str) -> None:
    with clients.connected(lab, address, 50051, "grpc") as client:
        answer = client.ask("/records.Store/Watch", host="records.example", messages=3, headers=[("x-n", "1")])
        failed = client.ask("/records.Store/Fail", host="records.example")

    assert [(m["source"], m["path"], m["message"]) for m in answer.json()] == [
        (source, "/records.Store/Watch", float(n)) for n in (1, 2, 3)
    ]
    assert (answer.status, ("x-origin-trailer", "done") in answer.trailers) == (0, True)
    assert failed.status == 9


def test_the_origin_echoes_websocket_messages(lab: Lab) -> None:
    with clients.connected(lab, ORIGIN[0], 8080, "websocket") as client:
        opened = client.ask("/ws?a=b", host="records.example")
        echoed = [client.ask("", host="", body=text).body for text in ("one", "two" * 30000)]

    assert (opened.status, opened.json()["source"], opened.json()["path"]) == (101, DIRECT[0], "/ws?a=b")
    assert echoed == ["one", "two" * 30000]


def test_the_origin_streams_large_bodies_both_ways(lab: Lab) -> None:
    got = curl(lab, "-o", "/dev/null", "-w", "%{size_download}", "http://public.example/big?bytes=300000000")
    sent = on.run(
        lab,
        world.INSTANCE,
        ["sh", "-c", "head -c 100000000 /dev/zero | curl -sST - http://public.example/up"],
        timeout=60,
    )

    assert got == "300000000"
    assert json.loads(sent.stdout)["length"] == 100_000_000


def test_plain_tcp_is_echoed_and_the_greeter_speaks_first(lab: Lab) -> None:
    assert say(lab, ORIGIN[1], 7000, b"anybody?", enough=b"anybody?") == b"anybody?"
    assert say(lab, ORIGIN[0], 7001, b"", enough=b"\n") == b"220 lab ready\r\n"


def test_the_raw_port_shows_the_very_bytes_of_a_request_head(lab: Lab) -> None:
    head = b"GET /..//x HTTP/1.1\r\nhOsT:  public.example\r\nX-Odd:\ta\r\n\r\n"

    answer = say(lab, ORIGIN[0], 8081, head, enough=b"}")

    assert json.loads(answer.partition(b"\r\n\r\n")[2])["body"].encode("latin-1") == head


def test_everything_that_reaches_the_origin_is_on_record(lab: Lab) -> None:
    before = len(instance.reached(lab))
    curl(lab, "-X", "PUT", "http://public.example/on-record")
    say(lab, ORIGIN[0], 7000, b"first bytes", enough=b"first bytes")

    new = instance.reached(lab)[before:]

    assert [(each["method"], each["path"], each["source"]) for each in new[:1]] == [
        ("PUT", "/on-record", DIRECT[0])
    ] or [each["source"] for each in new[:1]] == [DIRECT[1]]
    assert [(each["protocol"], each["body"]) for each in new[1:]] == [("tcp", "first bytes")]


@pytest.mark.parametrize("gateway", GATEWAYS, ids=lambda gateway: gateway.tunnel)
def test_what_comes_through_a_tunnel_arrives_from_its_gateway(lab: Lab, gateway: Gateway) -> None:
    with by_hand(lab, gateway) as device:
        for address in ORIGIN:
            on.demand(lab, world.INSTANCE, ["ip", "route", "add", address, "dev", device])
        seen = [
            json.loads(curl(lab, f"http://{literal}:8080/t"))["source"] for literal in (ORIGIN[0], f"[{ORIGIN[1]}]")
        ]

    assert tuple(seen) == world.seen_as(gateway.tunnel)


def test_the_witness_sees_what_leaves_in_the_clear_and_only_that(lab: Lab) -> None:
    with watch.witness(lab) as witness:
        assert witness.control() == watch.CONTROL_FRAMES
        for literal in (ORIGIN[0], f"[{ORIGIN[1]}]"):
            curl(lab, "-H", f"x-canary: {witness.canary.decode()}", f"http://{literal}/clear")
        clear = witness.leaked()
        with by_hand(lab, GATEWAYS[0]) as device:
            on.demand(lab, world.INSTANCE, ["ip", "route", "add", ORIGIN[0], "dev", device])
            curl(lab, "-H", f"x-canary: {witness.canary.decode()}", f"http://{ORIGIN[0]}/inside")
        counts = witness.counts()

    assert clear == 2
    assert counts.canaries["sent"][witness.canary.hex()] == 2
    assert counts.sent("tcp", ORIGIN[0], 80) > 0
    assert counts.sent("udp", GATEWAYS[0].endpoint.address, GATEWAYS[0].endpoint.port) > 0


def test_a_program_runs_as_the_user_that_is_asked_for(lab: Lab) -> None:
    assert on.run(lab, world.INSTANCE, ["id", "-u"], uid=1234).stdout == "1234\n"


def test_private_keys_are_readable_by_root_alone(lab: Lab) -> None:
    secret = [
        path
        for path in (*lab.keys.rglob("*"), *lab.node.iterdir())
        if path.is_file() and "PRIVATE" in path.read_text().upper()
    ]

    assert {path.name for path in secret} >= {
        "RS256.pem",
        "ES256.pem",
        "node.key",
        "gateway.key",
        "wg-a.conf",
        "ovpn-c.ovpn",
    }
    assert [oct(path.stat().st_mode & 0o777) for path in secret] == ["0o600"] * len(secret)
    assert lab.keys.stat().st_mode & 0o777 == 0o700


def test_what_the_instance_is_given_passes_the_agents_own_checks(lab: Lab) -> None:
    node = load_node(lab.node / "node.yaml")
    pool = load_pool([(entry, Place()) for entry in node.entries], lambda file: Path(file).read_text())

    assert [(each.entry.name, each.entry.level.name) for each in pool.supplies] == [
        ("wg-a", "STRONG"),
        ("wg-b", "STRONG"),
        ("ovpn-c", "ENCRYPTED"),
        ("direct", "NONE"),
    ]


def test_two_labs_stand_side_by_side_and_go_one_by_one(lab: Lab, new_lab: Callable[[], Lab]) -> None:
    other = new_lab()
    with clients.connected(lab, ORIGIN[0], 80) as here, clients.connected(other, ORIGIN[0], 80) as there:
        assert [client.ask("/", host="x.example").status for client in (here, there)] == [200, 200]
        life.down(other)
        assert here.ask("/", host="x.example").status == 200

    assert other not in names.standing()
    assert life.status(lab)["up"] is True


def test_a_lab_cannot_be_brought_up_twice(lab: Lab) -> None:
    with pytest.raises(Fault, match="it stands already"):
        life.up(lab)


def test_down_clears_away_what_a_killed_up_has_left(new_lab: Callable[[], Lab]) -> None:
    lab = names.lab(f"r{os.getpid()}-half")
    code = f"from pointsman.lab import life, names; life.up(names.Lab('{lab.name}'))"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    try:
        until(lambda: any(True for _ in on.processes(lab, "gw-c")), "the last gateway runs")
        process.send_signal(signal.SIGKILL)
        process.wait(5)
    finally:
        life.down(lab)

    assert lab not in names.standing()
    assert leftovers(lab) == []
    life.down(lab)  # nothing to take down is fine


def test_building_a_lab_leaves_the_network_of_the_machine_alone(new_lab: Callable[[], Lab]) -> None:
    before = machine()
    life.down(new_lab())
    assert machine() == before


def test_status_tells_hosts_addresses_and_tunnels(lab: Lab) -> None:
    found = json.loads(json.dumps(life.status(lab)))

    assert found["up"] is True
    assert {
        host["name"]: {link["name"]: sorted(link["addresses"]) for link in host["interfaces"]}
        for host in found["hosts"]
        if host["name"] in ("instance", "gw-b")
    } == {
        "instance": {"eth0": ["192.0.2.10/24", "2001:db8:1::10/64"]},
        "gw-b": {
            "eth0": ["192.0.2.22/24", "2001:db8:1::22/64"],
            "eth1": ["198.51.100.22/24", "2001:db8:2::22/64"],
            "wg0": ["10.72.0.1/32", "fd72::1/128"],
            "tun0": ["10.82.0.1/32", "fd82::1/128"],
        },
    }
    assert [tunnel["name"] for tunnel in found["tunnels"]] == ["wg-a", "wg-b", "ovpn-c"]


def curl(lab: Lab, *argv: str) -> str:
    return on.demand(lab, world.INSTANCE, ["curl", "-sS", "--max-time", "30", *argv])


def say(lab: Lab, address: str, number: int, data: bytes, enough: bytes) -> bytes:
    """Open a TCP connection on the instance, send, and read until the answer ends with `enough`."""
    code = (
        "import socket, sys\n"
        "line = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)\n"
        "line.sendall(bytes.fromhex(sys.argv[3])); got = b''\n"
        "while not got.endswith(bytes.fromhex(sys.argv[4])): got += line.recv(65536)\n"
        "sys.stdout.write(got.hex())\n"
    )
    argv = [sys.executable, "-I", "-c", code, address, str(number), data.hex(), enough.hex()]
    return bytes.fromhex(on.demand(lab, world.INSTANCE, argv))


class by_hand:  # noqa: N801
    """A tunnel on the instance, made by hand from the pool file, for as long as the block runs."""

    def __init__(self, lab: Lab, gateway: Gateway) -> None:
        self.lab, self.gateway = lab, gateway

    def __enter__(self) -> str:
        file = self.lab.node / pool_file(self.gateway)
        if self.gateway.kind is Kind.OPENVPN:
            argv = ["openvpn", "--config", str(file), "--route-nopull", "--dev", "hand0", "--dev-type", "tun"]
            self.process = on.start(self.lab, world.INSTANCE, argv, "by-hand")
            log = self.lab.log(world.INSTANCE, "by-hand")
            until(lambda: "Initialization Sequence Completed" in log.read_text(), "openvpn is up", log)
        else:
            self.process = on.start(self.lab, world.INSTANCE, ["wireguard-go", "-f", "hand0"], "by-hand")
            self._wireguard(file)
        return "hand0"

    def _wireguard(self, file: Path) -> None:
        import base64

        parsed = configparser.ConfigParser()
        parsed.read(file)
        own, peer = parsed["Interface"], parsed["Peer"]
        key = {
            name: base64.b64decode(text).hex()
            for name, text in (
                ("own", own["PrivateKey"]),
                ("peer", peer["PublicKey"]),
                ("shared", peer["PresharedKey"]),
            )
        }
        control = self.lab.home(world.INSTANCE) / "wireguard" / "hand0.sock"
        until(control.exists, "wireguard-go listens")
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(control))
            line.sendall(
                f"set=1\nprivate_key={key['own']}\npublic_key={key['peer']}\npreshared_key={key['shared']}\nendpoint={peer['Endpoint']}\n"
                "allowed_ip=0.0.0.0/0\nallowed_ip=::/0\n\n".encode()
            )
            assert b"errno=0" in line.recv(100)
        lines = [f"address add {address} dev hand0" for address in own["Address"].split(", ")]
        on.demand(
            self.lab, world.INSTANCE, ["ip", "-batch", "-"], given="\n".join([*lines, "link set hand0 up mtu 1420"])
        )

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(5)
        until(lambda: "hand0" not in on.run(self.lab, world.INSTANCE, ["ip", "link"]).stdout, "the device is gone")


def leftovers(lab: Lab) -> list[str]:
    spaces = [lab.path(host.name) for host in world.HOSTS]
    return [str(path) for path in (*spaces, lab.folder) if path.exists()]


def machine() -> list[str]:
    """The network of the machine itself: links, addresses, routes, rules, rule sets, forwarding."""
    asked = (["ip", "link"], ["ip", "route", "show", "table", "all"], ["ip", "rule"], ["nft", "list", "ruleset"])
    forwarding = ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"]
    return [subprocess.run(argv, capture_output=True, text=True, check=True).stdout for argv in asked] + [
        Path(path).read_text() for path in forwarding
    ]
