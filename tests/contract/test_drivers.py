"""Real daemons between two network namespaces. Every verb is a new agent, so every test is one of adoption too."""

import base64
import datetime
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pointsman.lab import spaces, wait

AGENT = Path(__file__).with_name("driver_agent.py")
INNER = {"near": ("10.71.0.2", "fd71::2"), "far": ("10.71.0.1", "fd71::1")}
OUTER = {"near": ("192.0.2.10", "2001:db8:1::10"), "far": ("192.0.2.21", "2001:db8:1::21")}


@dataclass(frozen=True)
class World:
    """Two hosts, `near` and `far`, on one wire."""

    folder: Path
    spaces: dict[str, str]

    def host(self, side: str) -> str:
        return self.spaces[side]

    def run(self, side: str, *command: str, check: bool = True) -> str:
        full = ["ip", "netns", "exec", self.host(side), *command]
        done = subprocess.run(full, capture_output=True, text=True, timeout=60, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def drive(self, side: str, name: str, kind: str, source: str, verb: str) -> dict[str, object]:
        answer = self.run(side, sys.executable, str(AGENT), str(self.folder / side), name, kind, source, verb)
        seen: dict[str, object] = json.loads(answer)
        return seen

    def pid(self, side: str, name: str) -> int:
        return int((self.folder / side / "tunnels" / name / "pid").read_text().split()[0])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with spaces.space("near") as near, spaces.space("far") as far:
        made = World(tmp_path, {"near": near, "far": far})
        wire = ["ip", "-n", near, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", far]
        subprocess.run(wire, check=True)
        for side in ("near", "far"):
            v4, v6 = OUTER[side]
            made.run(side, "ip", "addr", "add", f"{v4}/24", "dev", "eth0")
            made.run(side, "ip", "addr", "add", f"{v6}/64", "dev", "eth0", "nodad")
            made.run(side, "ip", "link", "set", "lo", "up")
            made.run(side, "ip", "link", "set", "eth0", "up")
        yield made


@dataclass(frozen=True)
class Secrets:
    """A pool file and the strings in it that must not be seen anywhere."""

    file: str
    words: tuple[str, ...]


def wireguard_files(world: World, family: int) -> dict[str, Secrets]:
    pairs = {side: x25519.X25519PrivateKey.generate() for side in ("near", "far")}
    private = {side: base64.b64encode(key.private_bytes_raw()).decode() for side, key in pairs.items()}
    public = {side: base64.b64encode(key.public_key().public_bytes_raw()).decode() for side, key in pairs.items()}
    shared = base64.b64encode(os.urandom(32)).decode()
    files = {}
    for side, other in (("near", "far"), ("far", "near")):
        outer = OUTER[other][family]
        path = world.folder / f"{side}.conf"
        path.write_text(
            f"[Interface]\nPrivateKey = {private[side]}\nListenPort = 51820\nMTU = 1400\n"
            f"Address = {INNER[side][0]}/24, {INNER[side][1]}/64\nDNS = 192.0.2.1\n\n"
            f"[Peer]\nPublicKey = {public[other]}\nPresharedKey = {shared}\n"
            f"AllowedIPs = {INNER[other][0]}/32, {INNER[other][1]}/128\n"
            f"Endpoint = {f'[{outer}]' if ':' in outer else outer}:51820\nPersistentKeepalive = 1\n"
        )
        raw = (private[side], shared)
        files[side] = Secrets(str(path), (*raw, *(base64.b64decode(word).hex() for word in raw)))
    return files


def openvpn_files(world: World, family: int) -> dict[str, Secrets]:
    made = {side: certificate(side) for side in ("near", "far")}
    prints = {side: made[side][2] for side in made}
    server = (
        "dev tun0\ndev-type tun\nmode server\ntls-server\ntopology subnet\n"
        f"local {OUTER['far'][family]}\nport 1194\nproto {('udp4', 'udp6')[family]}\n"
        "server 10.71.0.0 255.255.255.0\nserver-ipv6 fd71::/64\n"
        "dh none\nkeepalive 1 10\n"
        'push "redirect-gateway def1 ipv6"\npush "dhcp-option DNS 192.0.2.66"\n'
        'push "route 198.51.100.0 255.255.255.0"\n'
        'push "compress stub-v2"\npush "tun-mtu 1300"\nverb 3\n'
        f"<cert>\n{made['far'][0]}</cert>\n<key>\n{made['far'][1]}</key>\n"
        f"<peer-fingerprint>\n{prints['near']}\n</peer-fingerprint>\n"
    )
    client = (
        f"client\ndev tun\nremote {OUTER['far'][family]} 1194 udp\nredirect-gateway def1\n"
        "tls-version-min 1.3\nverb 4\n"
        f"<cert>\n{made['near'][0]}</cert>\n<key>\n{made['near'][1]}</key>\n"
        f"<peer-fingerprint>\n{prints['far']}\n</peer-fingerprint>\n"
    )
    files = {}
    for side, text in (("far", server), ("near", client)):
        path = world.folder / f"{side}.ovpn"
        path.write_text(text)
        files[side] = Secrets(str(path), tuple(made[side][1].splitlines()[1:-1]))
    return files


def certificate(name: str) -> tuple[str, str, str]:
    """Return a certificate, its key, and its fingerprint as OpenVPN writes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    usage = ExtendedKeyUsageOID.SERVER_AUTH if name == "far" else ExtendedKeyUsageOID.CLIENT_AUTH
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.ExtendedKeyUsage([usage]), False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    digits = made.fingerprint(hashes.SHA256()).hex().upper()
    return made.public_bytes(serialization.Encoding.PEM).decode(), pem, ":".join(re.findall("..", digits))


@dataclass(frozen=True)
class Tunnel:
    """A tunnel from `near` that is up, and how to bring its gateway's daemon down."""

    world: World
    kind: str
    near: Secrets
    first: dict[str, object]

    def drive(self, verb: str) -> dict[str, object]:
        return self.world.drive("near", "t", self.kind, self.near.file, verb)

    @property
    def device(self) -> str:
        return str(self.first["device"])

    def carries(self, family: int) -> bool:
        """Say whether a connection goes through and back, between the two inner addresses of this family."""
        far = INNER["far"][family]
        source = next(
            address
            for address in self.drive("tend")["sources"]  # type: ignore[attr-defined]
            if (":" in address) == bool(family)
        )
        self.world.run("near", "ip", "route", "replace", far, "dev", self.device)
        serve = ["ip", "netns", "exec", self.world.host("far"), sys.executable, "-c", SERVE, far]
        with subprocess.Popen(serve) as server:
            moved = self.world.run("near", sys.executable, "-c", CALL, source, far, check=False)
            server.kill()
        return moved.split()[1:] == ["1000"]


SERVE = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
listener = socket.socket(family)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((sys.argv[1], 7000))
listener.listen()
channel, _ = listener.accept()
moved = 0
while part := channel.recv(65536):
    moved += len(part)
channel.sendall(str(moved).encode())
"""
CALL = """
import socket, sys, time
source, far, size = sys.argv[1], sys.argv[2], int((sys.argv[3:] or ["1000"])[0])
end = time.monotonic() + 10
while True:
    try:
        channel = socket.create_connection((far, 7000), 5, (source, 0))
        break
    except OSError:
        if time.monotonic() > end:
            raise
        time.sleep(0.05)
channel.settimeout(20)
channel.sendall(b"x" * size)
channel.shutdown(socket.SHUT_WR)
print(channel.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG), channel.recv(20).decode())
"""


Bring = Callable[[str, int], Tunnel]


@pytest.fixture
def bring(world: World) -> Bring:
    def up(kind: str, family: int) -> Tunnel:
        if kind == "wireguard":
            files = wireguard_files(world, family)
            far = world.drive("far", "g", kind, files["far"].file, "start")
            for address in INNER["near"]:
                world.run("far", "ip", "route", "replace", address, "dev", str(far["device"]))
        else:
            files = openvpn_files(world, family)
            log = open(world.folder / "far.log", "wb")  # noqa: SIM115
            command = ["ip", "netns", "exec", world.host("far"), "openvpn", "--config", files["far"].file]
            subprocess.Popen(command, stdout=log, stderr=log)
        return Tunnel(world, kind, files["near"], world.drive("near", "t", kind, files["near"].file, "up"))

    return up


KINDS = pytest.mark.parametrize("kind", ["wireguard", "openvpn"])
FAMILIES = pytest.mark.parametrize("family", [0, 1], ids=["outer-v4", "outer-v6"])


@KINDS
@FAMILIES
def test_a_tunnel_comes_up_and_carries_both_families(bring: Bring, kind: str, family: int) -> None:
    tunnel = bring(kind, family)

    assert tunnel.first["state"] == "up", tunnel.first
    assert tunnel.first["mtu"] == 1400
    assert len(tunnel.first["sources"]) == 2  # type: ignore[arg-type]
    assert tunnel.carries(0)
    assert tunnel.carries(1)


@KINDS
def test_tcp_goes_through_with_the_segment_size_of_the_tunnel(bring: Bring, kind: str) -> None:
    tunnel = bring(kind, 0)
    world = tunnel.world
    assert tunnel.carries(0)
    serve = ["ip", "netns", "exec", world.host("far"), sys.executable, "-c", SERVE, "10.71.0.1"]
    with subprocess.Popen(serve):
        mss, moved = world.run("near", sys.executable, "-c", CALL, "10.71.0.2", "10.71.0.1", "3000000").split()

    assert int(moved) == 3_000_000
    assert int(mss) <= 1360


@KINDS
def test_a_restarted_agent_adopts_the_daemon_and_makes_no_second_one(bring: Bring, kind: str) -> None:
    tunnel = bring(kind, 0)
    before = tunnel.world.pid("near", "t")

    again = tunnel.drive("up")

    assert again["state"] == "up"
    assert tunnel.world.pid("near", "t") == before
    assert daemons(tunnel) == [before]
    assert tunnel.carries(0)


@KINDS
def test_a_lost_pid_file_leads_to_no_second_daemon(bring: Bring, kind: str) -> None:
    tunnel = bring(kind, 0)
    before = tunnel.world.pid("near", "t")
    (tunnel.world.folder / "near/tunnels/t/pid").unlink()

    again = tunnel.drive("up")

    assert again["state"] == "up", again
    assert daemons(tunnel) == [before]


@KINDS
def test_a_gateway_that_forgot_its_sessions_is_greeted_anew(bring: Bring, kind: str) -> None:
    tunnel = bring(kind, 0)
    assert tunnel.carries(0)
    far_end_starts_again(tunnel)

    revived = time.monotonic()
    tunnel.drive("revive")

    seen = until(lambda: tunnel.drive("tend"), "'state': 'up'")
    assert float(str(seen["age"] or 0)) <= time.monotonic() - revived
    assert tunnel.carries(0)
    assert time.monotonic() - revived < 8


def far_end_starts_again(tunnel: Tunnel) -> None:
    """End the far end and start another one, which calls nobody by itself."""
    world = tunnel.world
    if tunnel.kind == "wireguard":
        file = world.folder / "far.conf"
        world.drive("far", "g", "wireguard", str(file), "stop")
        lines = file.read_text().splitlines()
        file.write_text("\n".join(line for line in lines if not line.startswith("Persistent")) + "\n")
        far = world.drive("far", "g", "wireguard", str(file), "start")
        for address in INNER["near"]:
            world.run("far", "ip", "route", "replace", address, "dev", str(far["device"]))
        return
    for pid in map(int, subprocess.check_output(["ip", "netns", "pids", world.host("far")]).split()):
        os.kill(pid, signal.SIGKILL)
    command = ["ip", "netns", "exec", world.host("far"), "openvpn", "--config", str(world.folder / "far.ovpn")]
    wait.until(lambda: not subprocess.check_output(["ip", "netns", "pids", world.host("far")]), "the far end ends")
    with open(world.folder / "far.log", "wb") as log:
        subprocess.Popen(command, stdout=log, stderr=log)
    told = world.folder / "far.log"
    wait.until(lambda: "Initialization Sequence Completed" in told.read_text(), "the far end is back")


@KINDS
def test_a_killed_daemon_is_seen_and_a_new_start_heals(bring: Bring, kind: str) -> None:
    tunnel = bring(kind, 0)
    os.kill(tunnel.world.pid("near", "t"), signal.SIGKILL)

    gone = until(lambda: tunnel.drive("tend"), "'state': 'gone'")
    assert gone["sources"] == []
    assert gone["why"]
    assert not tunnel.world.run("near", "ip", "-4", "route", "get", "198.51.100.1", check=False)
    assert tunnel.drive("up")["state"] == "up"
    assert tunnel.carries(0)


@KINDS
def test_a_link_that_somebody_deleted_is_seen_and_a_new_start_heals(bring: Bring, kind: str) -> None:
    tunnel = bring(kind, 0)
    tunnel.world.run("near", "ip", "link", "del", tunnel.device)

    assert until(lambda: tunnel.drive("tend"), "'state': 'gone'")["sources"] == []
    assert tunnel.drive("up")["state"] == "up"
    assert len(daemons(tunnel)) == 1
    assert tunnel.carries(0)


@KINDS
def test_a_file_that_changed_makes_a_new_tunnel_in_place_of_the_old(bring: Bring, kind: str) -> None:
    tunnel = bring(kind, 0)
    before = tunnel.world.pid("near", "t")
    file = Path(tunnel.near.file)
    file.write_text(file.read_text().replace("MTU = 1400", "MTU = 1380").replace("client\n", "client\ntun-mtu 1380\n"))

    assert tunnel.drive("tend")["why"] == "it was made from another file"
    again = tunnel.drive("up")
    assert (again["state"], again["mtu"]) == ("up", 1380)
    assert daemons(tunnel) == [tunnel.world.pid("near", "t")] != [before]


def test_an_address_that_the_host_has_elsewhere_is_not_taken_from_a_gateway(bring: Bring) -> None:
    tunnel = bring("openvpn", 0)
    tunnel.world.run("near", "ip", "addr", "add", "10.71.0.2/32", "dev", "lo")

    refused = tunnel.drive("tend")
    assert (refused["state"], refused["sources"]) == ("failed", [])
    assert refused["why"] == "the gateway pushed 10.71.0.2, which this host knows elsewhere"
    assert "10.71.0.2" not in tunnel.world.run("near", "ip", "addr", "show", "dev", tunnel.device)
    assert tunnel.drive("observe")["state"] == "failed"

    tunnel.world.run("near", "ip", "addr", "del", "10.71.0.2/32", "dev", "lo")
    assert tunnel.drive("tend")["state"] == "up"


@KINDS
def test_what_somebody_undid_on_the_link_is_repaired(bring: Bring, kind: str) -> None:
    tunnel = bring(kind, 0)
    tunnel.world.run("near", "ip", "addr", "flush", "dev", tunnel.device)
    tunnel.world.run("near", "ip", "link", "set", tunnel.device, "down", "mtu", "1300")

    assert tunnel.drive("tend") | {"age": 0, "sent": 0} == tunnel.first | {"age": 0, "sent": 0}


@KINDS
def test_a_stopped_tunnel_leaves_nothing(bring: Bring, kind: str) -> None:
    tunnel = bring(kind, 0)

    assert tunnel.drive("stop")["state"] == "gone"
    assert tunnel.drive("stop")["state"] == "gone"
    assert daemons(tunnel) == []
    assert tunnel.device not in tunnel.world.run("near", "ip", "link")
    assert not (tunnel.world.folder / "near/tunnels/t").exists()


@KINDS
def test_secrets_are_nowhere_but_in_the_users_file(bring: Bring, kind: str) -> None:
    tunnel = bring(kind, 0)
    pid = tunnel.world.pid("near", "t")
    seen = b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
    home = tunnel.world.folder / "near"
    files = [path for path in home.rglob("*") if path.is_file()]
    seen += b"".join(path.read_bytes() for path in files)

    assert [word for word in tunnel.near.words if word.encode() in seen] == []
    assert [path for path in files if path.stat().st_mode & 0o077] == []
    assert [mode & 0o077 for mode in [(home / "tunnels/t").stat().st_mode]] == [0]


@KINDS
def test_the_daemon_is_a_user_of_its_own_with_the_least_capabilities(bring: Bring, kind: str) -> None:
    tunnel = bring(kind, 0)
    status = Path(f"/proc/{tunnel.world.pid('near', 't')}/status").read_text()
    said = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    held = 1 << 12 if kind == "wireguard" else 0

    assert said["Uid"].split() == ["64002"] * 4
    assert said["Gid"].split() == ["64002"] * 4
    assert said["Groups"].split() == []
    assert said["NoNewPrivs"] == "1"
    assert [int(said[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")] == [held] * 4


@KINDS
def test_an_agent_that_is_killed_while_it_starts_a_tunnel_leaves_at_most_one_daemon(bring: Bring, kind: str) -> None:
    tunnel = bring(kind, 0)
    world = tunnel.world
    verb = [str(AGENT), str(world.folder / "near"), "t", kind, tunnel.near.file, "up"]
    full = ["ip", "netns", "exec", world.host("near"), sys.executable, *verb]
    for delay in (0.35, 0.45, 0.55, 0.65, 0.75, 0.85):
        tunnel.drive("stop")
        with subprocess.Popen(full, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as agent:
            with suppress(subprocess.TimeoutExpired):
                agent.wait(delay)
            agent.kill()
        left = daemons(tunnel)

        assert len(left) <= 1
        assert tunnel.drive("up")["state"] == "up"
        assert len(daemons(tunnel)) == 1

    assert tunnel.carries(0)


def test_what_an_openvpn_gateway_pushes_changes_nothing_on_the_host(bring: Bring) -> None:
    tunnel = bring("openvpn", 0)
    routes = tunnel.world.run("near", "ip", "route") + tunnel.world.run("near", "ip", "-6", "route")

    assert [line for line in routes.splitlines() if tunnel.device in line] == []
    assert tunnel.first["mtu"] == 1400
    assert "192.0.2.66" not in Path("/etc/resolv.conf").read_text()


def test_an_openvpn_daemon_has_a_tun_device_of_its_own(bring: Bring) -> None:
    tunnel = bring("openvpn", 0)

    seen = Path(f"/proc/{tunnel.world.pid('near', 't')}/root/dev/net/tun").stat()

    assert (seen.st_uid, stat.S_IMODE(seen.st_mode)) == (64002, 0o600)
    assert seen.st_rdev == Path("/dev/net/tun").stat().st_rdev


def test_an_openvpn_gateway_with_another_certificate_is_refused(world: World, bring: Bring) -> None:
    files = openvpn_files(world, 0)
    openvpn_files(world, 0)  # the gateway's file now has another key pair
    near = Path(files["near"].file)
    client = near.read_text()
    near.write_text(client.replace(client.split("<peer-fingerprint>\n")[1][:5], "00:11", 1))
    log = open(world.folder / "far.log", "wb")  # noqa: SIM115
    full = ["ip", "netns", "exec", world.host("far"), "openvpn", "--config", files["far"].file]
    subprocess.Popen(full, stdout=log, stderr=log)
    world.drive("near", "t", "openvpn", str(near), "start")
    words = world.folder / "near/tunnels/t/log"

    assert until(lambda: words.read_text(), "certificate hash verification failed")
    assert world.drive("near", "t", "openvpn", str(near), "tend")["sources"] == []


def test_a_link_of_somebody_else_is_not_touched(world: World) -> None:
    files = wireguard_files(world, 0)
    device = str(world.drive("near", "t", "wireguard", files["near"].file, "tend")["device"])
    world.run("near", "ip", "tuntap", "add", device, "mode", "tun")
    world.run("near", "ip", "link", "set", device, "alias", "theirs")

    full = ["ip", "netns", "exec", world.host("near"), sys.executable, str(AGENT), str(world.folder / "near"), "t"]
    done = subprocess.run(
        [*full, "wireguard", files["near"].file, "start"], capture_output=True, text=True, check=False
    )

    assert "it belongs to `theirs`" in done.stderr
    assert "alias theirs" in world.run("near", "ip", "link", "show", device)


def test_a_gateway_that_cannot_be_reached_is_no_tunnel(world: World) -> None:
    files = wireguard_files(world, 0)
    seen = world.drive("near", "t", "wireguard", files["near"].file, "start")

    assert (seen["state"], seen["why"]) == ("provisioning", "the gateway has not answered yet")


def test_direct_is_up_while_its_device_is(world: World) -> None:
    assert world.drive("near", "d", "direct", "eth0", "tend")["sources"] == list(OUTER["near"])
    assert world.drive("near", "d", "direct", "eth0", "start")["state"] == "up"

    world.run("near", "ip", "link", "set", "eth0", "down")

    assert world.drive("near", "d", "direct", "eth0", "tend")["why"] == "device `eth0` is down"


def daemons(tunnel: Tunnel) -> list[int]:
    pids = subprocess.run(
        ["ip", "netns", "pids", tunnel.world.host("near")], capture_output=True, text=True, check=True
    )
    return [int(pid) for pid in pids.stdout.split() if Path(f"/proc/{pid}").stat().st_uid == 64002]


def until(ask: Callable[[], object], wanted: str) -> dict[str, object]:
    """Return the first answer that holds what is wanted."""
    seen: list[object] = []

    def came() -> bool:
        seen.append(ask())
        return wanted in str(seen[-1])

    wait.until(came, f"`{wanted}` comes", within=20)
    return seen[-1] if isinstance(seen[-1], dict) else {"seen": seen[-1]}
