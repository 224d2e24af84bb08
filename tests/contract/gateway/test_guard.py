"""What a gateway's guard keeps apart, with real packets, and what it mends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pointsman.lab.wait import until
from pointsman.tunnels.drivers import uapi
from tests.contract.gateway.far_end import ORIGIN, World

KINDS = pytest.mark.parametrize("kind", ["wireguard", "openvpn"])

SEND = """
import socket, sys
device, source, target, count = sys.argv[1:5]
line = socket.socket(socket.AF_INET6 if ":" in target else socket.AF_INET, socket.SOCK_DGRAM)
line.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
line.setsockopt(socket.SOL_IP, 19, 1)
line.bind((source, 0))
for _ in range(int(count)): line.sendto(b"canary", (target, 7000))
"""


def send(world: World, host: str, device: str, source: str, target: str) -> None:
    world.run(host, sys.executable, "-I", "-c", SEND, device, source, target, "5")


def test_one_tunnel_does_not_reach_another(gate: World) -> None:
    first = gate.up(gate.grant("wireguard", "a"))
    second = gate.up(gate.grant("openvpn", "b", node="beta"), "other")
    gate.echo("other")
    gate.echo("node")
    for host, device, address in (("node", first, "10.73.0.2"), ("other", second, "10.71.0.2")):
        gate.run(host, "ip", "route", "add", address, "dev", device)
        with gate.talk(device, address, host, patience=1) as talk:
            assert talk.hears() == "TimeoutError"

    assert gate.dropped()["isolated"] > 0


@KINDS
def test_what_comes_out_of_a_tunnel_reaches_no_service_of_the_gateway_but_its_echo(gate: World, kind: str) -> None:
    device = gate.up(gate.grant(kind, "a"))
    gate.echo("gate")
    inner = "10.71.0.1" if kind == "wireguard" else "10.73.0.1"
    for address in (inner, "198.51.100.21"):
        gate.run("node", "ip", "route", "replace", address, "dev", device)
        with gate.talk(device, address, patience=1) as talk:
            assert talk.hears() == "TimeoutError"

    assert gate.dropped()["host"] > 0
    assert ping(gate, "node", device, inner) == "answered"
    assert ping(gate, "node", device, "198.51.100.21") == "silent"


# Sends one echo request and says whether it is answered
PING = """
import os, select, socket, struct, sys
device, target = sys.argv[1:3]
line = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
line.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
body = struct.pack("!BBHHH", 8, 0, 0, 77, 1)
total = sum(struct.unpack("!4H", body)); total = (total >> 16) + (total & 0xffff)
line.sendto(struct.pack("!BBHHH", 8, 0, ~total & 0xffff, 77, 1), (target, 0))
print("answered" if select.select([line], [], [], 1)[0] else "silent")
"""


def ping(world: World, host: str, device: str, target: str) -> str:
    return world.run(host, sys.executable, "-I", "-c", PING, device, target).strip()


def test_a_source_that_is_not_the_tunnels_own_is_dropped_even_if_the_server_let_it_pass(gate: World) -> None:
    device = gate.up(gate.grant("wireguard", "a"))
    gate.started[-1].send_signal(signal.SIGSTOP)  # it would mend the server at once
    control = gate.folder / "run/wireguard/run/wireguard/wg0.sock"
    [peer] = uapi.understand(uapi.exchange(control, "get=1\n\n")).peers
    uapi.exchange(control, f"set=1\npublic_key={peer.key}\nallowed_ip=10.9.9.9/32\n\n")

    gate.run("node", "ip", "address", "add", "10.9.9.9/32", "dev", device)
    send(gate, "node", device, "10.9.9.9", ORIGIN[0])

    until(
        lambda: "packets 5 " in gate.run("gate", "nft", "list", "counter", "inet", "pointsman_gateway", "spoofed"), "5"
    )
    gate.started[-1].send_signal(signal.SIGCONT)
    until(lambda: "10.9.9.9" not in str(uapi.understand(uapi.exchange(control, "get=1\n\n")).settings), "it is mended")


def test_what_comes_from_outside_for_an_inner_address_is_dropped(gate: World) -> None:
    gate.up(gate.grant("wireguard", "a"))
    for host, via, target in (
        ("node", "192.0.2.21", "10.71.0.1"),
        ("far", "198.51.100.21", "10.71.0.2"),
        ("far", "198.51.100.21", "10.71.0.1"),
    ):
        device = "eth0"
        gate.run(host, "ip", "route", "replace", target, "via", via, "dev", device)
        before = gate.dropped()["unasked"]
        with gate.talk(device, target, host, patience=1) as talk:
            assert talk.hears() == "TimeoutError"
        assert gate.dropped()["unasked"] > before


def test_a_routed_gateway_hides_nothing_and_lets_connections_in(world: World) -> None:
    world.write_site(nat="none")
    world.start()
    device = world.up(world.grant("wireguard", "a"))
    world.run("far", "ip", "route", "add", "10.71.0.0/24", "via", "198.51.100.21")
    world.echo("node")

    with world.talk(device, ORIGIN[0]) as talk:
        assert talk.hears().removeprefix("::ffff:") == "10.71.0.2"
    with world.talk("eth0", "10.71.0.2", "far") as talk:
        assert talk.hears().removeprefix("::ffff:") == "198.51.100.80"
    before = world.dropped()["unasked"]
    world.run("far", "ip", "route", "add", "10.71.0.1/32", "via", "198.51.100.21", check=False)
    with world.talk("eth0", "10.71.0.1", "far", patience=1) as talk:
        assert talk.hears() == "TimeoutError"
    assert world.dropped()["unasked"] > before


def test_the_gateway_forwards_nothing_but_what_tunnels_carry(gate: World) -> None:
    gate.run("far", "ip", "route", "add", "192.0.2.0/24", "via", "198.51.100.21")
    gate.run("node", "ip", "route", "add", ORIGIN[0], "via", "192.0.2.21")
    with gate.talk("eth0", ORIGIN[0], patience=1) as talk:
        assert talk.hears() in ("TimeoutError", "OSError")


def test_who_says_outside_that_he_is_in_a_tunnel_is_dropped(gate: World) -> None:
    gate.up(gate.grant("wireguard", "a"))
    gate.run("far", "ip", "address", "add", "10.71.0.2/32", "dev", "eth0")
    before = gate.dropped()["spoofed"]

    send(gate, "far", "eth0", "10.71.0.2", "198.51.100.21")

    assert gate.dropped()["spoofed"] == before + 5


@KINDS
def test_a_tunnel_has_so_many_connections_and_others_have_theirs(world: World, kind: str) -> None:
    world.write_site(capacity={"connectionsPerTunnel": 16})
    world.start()
    device = world.up(world.grant(kind, "a"))
    other = world.up(world.grant(kind, "b", node="beta"), "other")
    own, inner = ("10.71.0.2", "10.71.0.1") if kind == "wireguard" else ("10.73.0.2", "10.73.0.1")
    world.run("node", sys.executable, "-I", "-c", OPEN, device, ORIGIN[0], inner)

    # three packets of each UDP connection, one of each echo
    until(lambda: world.dropped()["over_connections"] == 24 * 3 + 40, "all have come")
    assert world.tracked().count(own) == 16
    with world.talk(other, ORIGIN[0], "other") as talk:
        assert talk.hears()
    assert world.tunnels()[0]["id"] == "a"
    assert json.loads(world.command("status", "--json"))["healthy"]


# Opens forty connections by UDP, then sends forty echo requests that belong to nobody's connection
OPEN = """
import socket, struct, sys
device, far, inner = sys.argv[1:]
line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
line.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
for port in range(9000, 9040):
    for _ in range(3):
        try: line.sendto(b"canary", (far, port))
        except OSError: line.sendto(b"canary", (far, port))
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
raw.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
for name in range(1, 41):
    total = 0x0800 + name + 1
    raw.sendto(struct.pack("!BBHHH", 8, 0, ~total & 0xffff, name, 1), (inner, 0))
"""


@pytest.mark.parametrize(("qos", "code_point"), [("interactive", 18), ("default", 0), ("bulk", 1)])
def test_what_is_forwarded_carries_the_class_of_its_tunnel(gate: World, qos: str, code_point: int) -> None:
    device = gate.up(gate.grant("wireguard", "a", qos=qos))
    full = ["ip", "netns", "exec", gate.spaces["far"], sys.executable, "-I", "-c", CODE_POINT]
    with subprocess.Popen(full, stdout=subprocess.PIPE, text=True) as listening:
        assert listening.stdout is not None
        assert listening.stdout.readline() == "ready\n"
        send(gate, "node", device, "10.71.0.2", ORIGIN[0])
        assert int(listening.stdout.readline()) == code_point


# Says the code point of the first datagram that comes
CODE_POINT = """
import socket
line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
line.setsockopt(socket.IPPROTO_IP, 13, 1)  # IP_RECVTOS
line.bind(("0.0.0.0", 7000))
print("ready", flush=True)
_, [(_, _, said)], _, _ = line.recvmsg(100, 100)
print(said[0] >> 2, flush=True)
"""


@KINDS
def test_what_somebody_undid_or_added_is_mended(gate: World, kind: str) -> None:
    device = gate.up(gate.grant(kind, "a"))
    gate.run("gate", "nft", "flush", "chain", "inet", "pointsman_gateway", "through")
    gate.run("gate", "nft", "flush", "set", "inet", "pointsman_gateway", "own4")
    gate.run("gate", "nft", "add", "element", "inet", "pointsman_gateway", "own4", '{ "wg0" . 10.71.0.99 }')
    (gate.folder / "run/openvpn/clients/t-orphan").write_text("ifconfig-push 10.73.0.99 255.255.255.0\n")

    def mended() -> bool:
        rules = gate.run("gate", "nft", "list", "table", "inet", "pointsman_gateway")
        orphan = (gate.folder / "run/openvpn/clients/t-orphan").exists()
        return 'isolated" drop' in rules and "10.71.0.99" not in rules and not orphan

    until(mended, "it is mended")
    with gate.talk(device, ORIGIN[0]) as talk:
        assert talk.hears()


@pytest.mark.parametrize("rules", ["stay", "change"])
def test_what_a_tunnel_has_is_mended_where_something_else_stands_in_its_place(gate: World, rules: str) -> None:
    gate.grant("wireguard", "a")
    table = ("inet", "pointsman_gateway")
    for name, other in (("class4", "jump bulk"), ("number4", "0x00000063")):
        for change, told in (("delete", ""), ("add", f": {other}")):
            gate.run("gate", "nft", change, "element", *table, name, f"{{ 10.71.0.2 {told} }}")
    if rules == "change":
        gate.run("gate", "nft", "flush", "chain", *table, "through")

    def mended() -> bool:
        found = gate.run("gate", "nft", "list", "table", *table)
        return all(said in found for said in ("10.71.0.2 : jump default", "10.71.0.2 : 0x10000002", 'isolated" drop'))

    until(mended, "it is mended")


@KINDS
def test_a_killed_daemon_comes_back_with_its_tunnels(gate: World, kind: str) -> None:
    device = gate.up(gate.grant(kind, "a"))
    pid = int((gate.folder / "run" / kind / "pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)

    def reached() -> bool:
        with gate.talk(device, ORIGIN[0], patience=1) as talk:
            return talk.hears().endswith("198.51.100.21")

    until(reached, "it carries again", gate.folder / "gateway.log", within=40)
    assert [tunnel["id"] for tunnel in gate.tunnels()] == ["a"]


def test_down_leaves_the_host_as_it_was(world: World) -> None:
    def state() -> str:
        knobs = "sysctl -a 2>/dev/null | grep -E 'forwarding|accept_ra '"
        links = "ip -o link | sed 's/<[^>]*>//; s/state [A-Z]*//'"
        look = f"{links}; ip -o -4 address; ip route; nft list ruleset; {knobs}"
        return world.run("gate", "sh", "-c", look)

    before = state()
    world.start()
    world.up(world.grant("wireguard", "a"))
    world.command("down")
    assert state() == before

    world.started.pop().wait(10)
    world.start()
    assert [tunnel["id"] for tunnel in world.tunnels()] == ["a"]


def test_private_keys_are_in_the_state_folder_and_the_file_that_was_asked_for_alone(gate: World) -> None:
    gate.up(gate.grant("wireguard", "a"))
    gate.up(gate.grant("openvpn", "b"))
    office, state = gate.folder / "office.conf", gate.folder / "state"
    gate.command("add", "office", "--kind", "wireguard", "-o", str(office))
    said = dict(line.split(" = ") for line in office.read_text().splitlines() if " = " in line)
    kept = json.loads((state / "openvpn.json").read_text())
    keys = [line for end in ("ca", "server") for line in kept[end]["key"].splitlines() if "-" not in line]
    secrets = [(state / "wireguard.key").read_text().strip(), said["PrivateKey"], said["PresharedKey"], *keys]

    pids = subprocess.check_output(["ip", "netns", "pids", gate.spaces["gate"]], text=True).split()
    seen = b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for pid in pids for name in ("cmdline", "environ"))
    runtime = [path for path in (gate.folder / "run").rglob("*") if path.is_file()]
    seen += b"".join(path.read_bytes() for path in [*runtime, gate.folder / "gateway.log"])

    assert len(pids) == 3
    assert [secret for secret in secrets if secret.encode() in seen] == []
    assert said["PrivateKey"] not in (state / "grants.json").read_text()
    assert {oct(path.stat().st_mode & 0o777) for path in (*state.iterdir(), office)} == {"0o600"}
    assert oct(state.stat().st_mode & 0o777) == "0o700"
