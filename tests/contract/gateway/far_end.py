"""A gateway between two nodes and an origin, each in a network namespace of its own, and what tests do with them."""

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric import x25519

from pointsman.lab import spaces
from pointsman.lab.wait import until
from pointsman.system.certificates import Credential, authority, issue
from pointsman.tunnels import keys
from pointsman.tunnels.preshared import preshared_key

AGENT = Path(__file__).parents[1] / "driver_agent.py"
API = "https://192.0.2.21:7443"
ORIGIN = ("198.51.100.80", "2001:db8:2::80")
USER = 64002
SECRET = os.urandom(32)
SITE: dict[str, Any] = {
    "apiVersion": "pointsman/v1",
    "kind": "Gateway",
    "name": "gw",
    "runtime": "run",
    "state": "state",
    "user": USER,
    "uplinks": ["eth1"],
    "api": {
        "listen": ["192.0.2.21"],
        "certificate": "gateway.crt",
        "key": "gateway.key",
        "nodes": "ca.crt",
        "secret": "shared.secret",
    },
    "wireguard": {"address": "192.0.2.21", "networks": ["10.71.0.0/24", "fd71::/64"], "device": "wg0"},
    "openvpn": {"address": "192.0.2.21", "networks": ["10.73.0.0/24", "fd73::/64"], "device": "tun0"},
}

# Port 7000 tells the source of the connection, then answers each line with the same line; 7001 counts bytes
ECHO = """
import asyncio
async def serve(reader, writer):
    writer.write((writer.get_extra_info("peername")[0] + "\\n").encode())
    while line := await reader.readline():
        writer.write(line)
async def count(reader, writer):
    writer.write(str(len(await reader.read())).encode())
    writer.close()
async def main():
    server = await asyncio.start_server(serve, None, 7000)
    await asyncio.start_server(count, None, 7001)
    print("ready", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
# Calls by one device: says whom the other end sees, then says back each line that went there and returned in time
TALK = """
import socket, sys
device, far = sys.argv[1:3]
line = socket.socket(socket.AF_INET6 if ":" in far else socket.AF_INET)
line.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
line.settimeout(float(sys.argv[3]))
try:
    line.connect((far, int(sys.argv[4])))
    both = line.makefile("rw")
    print(both.readline().strip(), flush=True)
    for word in sys.stdin:
        both.write(word); both.flush()
        print(both.readline().strip(), flush=True)
except OSError as error:
    print(type(error).__name__, flush=True)
"""
# Says the inner addresses from which connections are tracked
TRACKED = """
from pyroute2 import NFCTSocket
with NFCTSocket() as tracking:
    for entry in tracking.dump():
        told = entry.get_attr("CTA_TUPLE_ORIG").get_attr("CTA_TUPLE_IP").get_attr("CTA_IP_V4_SRC") or ""
        if told.startswith("10.7"): print(told)
"""


@dataclass
class Talk:
    """An open TCP connection through a tunnel."""

    process: subprocess.Popen[str]

    def hears(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def says(self, word: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.hears()


@dataclass
class World:
    """`node` and `other` reach the gateway `gate`; behind it is `far`."""

    folder: Path
    spaces: dict[str, str]
    ca: Credential
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, host: str, *command: str, check: bool = True) -> str:
        full = ["ip", "netns", "exec", self.spaces[host], *command]
        done = subprocess.run(full, capture_output=True, text=True, timeout=60, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def write_site(self, **changed: Any) -> None:
        site = {name: said for name, said in {**SITE, **changed}.items() if said is not None}
        (self.folder / "gateway.yaml").write_text(yaml.safe_dump(site))

    def start(self) -> None:
        """Start the gateway and return when it serves."""
        with open(self.folder / "gateway.log", "ab") as log:
            argv = [sys.executable, "-m", "pointsman", "gateway", "-c", str(self.folder / "gateway.yaml")]
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.spaces["gate"], *argv], stdout=log, stderr=log, start_new_session=True
            )
        self.started.append(process)
        ready = self.folder / "run/ready"
        until(
            lambda: ready.exists() and ready.read_text() == str(process.pid),
            "the gateway serves",
            self.folder / "gateway.log",
        )

    def kill(self) -> None:
        """Kill the gateway where it stands."""
        process = self.started.pop()
        process.send_signal(signal.SIGKILL)
        process.wait(10)

    def command(self, *words: str) -> str:
        return self.run(
            "gate", sys.executable, "-m", "pointsman", "gateway", *words, "--runtime", str(self.folder / "run")
        )

    def ask(self, method: str, path: str, body: object = None, node: str = "alpha") -> tuple[int, Any]:
        """Ask the gateway as a node; return status and answer."""
        told = ["-H", "Content-Type: application/json", "-d", json.dumps(body)] if body is not None else []
        return self.curl(method, path, *told, *self.proof(node))

    def curl(self, method: str, path: str, *more: str) -> tuple[int, Any]:
        command = ["curl", "-sS", "--max-time", "20", "-w", "\n%{http_code}", "--cacert", str(self.folder / "ca.crt")]
        answer = self.run("node", *command, *more, "-X", method, API + path, check=False)
        text, _, status = answer.rpartition("\n")
        return int(status or 0), json.loads(text) if text else None

    def proof(self, node: str, ca: Credential | None = None) -> list[str]:
        """Return curl's options for a node's certificate, signed by the right authority or another one."""
        name = node if ca is None else f"{node}-other"
        paths = [self.folder / f"{name}.{end}" for end in ("crt", "key")]
        if not paths[0].exists():
            made = issue(ca or self.ca, node, server=False, days=1, alternatives=[f"urn:pointsman:node:{node}"])
            paths[0].write_text(made.certificate)
            paths[1].write_text(made.key)
        return ["--cert", str(paths[0]), "--key", str(paths[1])]

    def grant(self, kind: str, name: str, node: str = "alpha", ttl: int = 600, **more: Any) -> Path:
        """Ask for a tunnel as a node does, and write the file for its driver."""
        if kind == "wireguard":
            return self._wireguard(name, node, {"ttl": ttl, **more})
        return self._openvpn(name, node, {"ttl": ttl, **more})

    def _wireguard(self, name: str, node: str, more: dict[str, Any]) -> Path:
        private = x25519.X25519PrivateKey.generate()
        public = base64.b64encode(private.public_key().public_bytes_raw()).decode()
        body = {"kind": "wireguard", "public_key": public, "preshared": True, **more}
        status, answer = self.ask("PUT", f"/v1/tunnels/{name}", body, node)
        assert status == 201, answer
        shared = preshared_key(SECRET, name, public, answer["public_key"])
        return self.written(
            f"{node}-{name}.conf",
            f"[Interface]\nPrivateKey = {base64.b64encode(private.private_bytes_raw()).decode()}\n"
            f"Address = {', '.join(answer['addresses'])}\nMTU = {answer['mtu']}\n"
            f"[Peer]\nPublicKey = {answer['public_key']}\nPresharedKey = {shared}\nAllowedIPs = 0.0.0.0/0, ::/0\n"
            f"Endpoint = {answer['endpoint']['address']}:{answer['endpoint']['port']}\nPersistentKeepalive = 1\n",
        )

    def _openvpn(self, name: str, node: str, more: dict[str, Any]) -> Path:
        key = keys.certificate_key()
        body = {"kind": "openvpn", "csr": keys.signing_request(key), **more}
        status, answer = self.ask("PUT", f"/v1/tunnels/{name}", body, node)
        assert status == 201, answer
        where = answer["endpoint"]
        return self.written(
            f"{node}-{name}.ovpn",
            f"client\ndev tun\nremote {where['address']} {where['port']} {where['protocol']}\ntls-version-min 1.3\n"
            f"tun-mtu {answer['mtu']}\nremote-cert-tls server\n<ca>\n{answer['ca']}</ca>\n"
            f"<peer-fingerprint>\n{answer['peer_fingerprint']}\n</peer-fingerprint>\n"
            f"<cert>\n{answer['certificate']}</cert>\n<key>\n{key}</key>\n",
        )

    def written(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text)
        return path

    def up(self, file: Path, host: str = "node") -> str:
        """Bring up the near end of a tunnel and return its device; what goes to the origin goes there."""
        seen = self.drive(file, "up", host)
        assert seen["state"] == "up", seen
        device = str(seen["device"])
        for address in ORIGIN:
            self.run(host, "ip", "route", "replace", address, "dev", device)
        return device

    def drive(self, file: Path, verb: str, host: str = "node") -> dict[str, Any]:
        kind = "wireguard" if file.suffix == ".conf" else "openvpn"
        argv = (sys.executable, str(AGENT), str(self.folder / host), file.stem, kind, str(file), verb)
        seen: dict[str, Any] = json.loads(self.run(host, *argv))
        return seen

    @contextmanager
    def talk(self, device: str, far: str, host: str = "node", patience: float = 5, port: int = 7000) -> Iterator[Talk]:
        """Open a TCP connection by a device."""
        full = ["ip", "netns", "exec", self.spaces[host], sys.executable, "-I", "-c", TALK, device, far]
        with subprocess.Popen(
            [*full, str(patience), str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                yield Talk(process)
            finally:
                process.kill()

    def echo(self, host: str) -> None:
        """Answer on port 7000 of a host."""
        full = ["ip", "netns", "exec", self.spaces[host], sys.executable, "-I", "-c", ECHO]
        process = subprocess.Popen(full, stdout=subprocess.PIPE)
        self.started.insert(0, process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"

    def tunnels(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.command("tunnels", "--json"))
        return found

    def tracked(self) -> list[str]:
        """Return the inner address of each connection that came out of a tunnel and is tracked."""
        return self.run("gate", sys.executable, "-c", TRACKED).split()

    def dropped(self) -> dict[str, int]:
        found: dict[str, int] = json.loads(self.command("status", "--json"))["dropped"]
        return found


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Make the four hosts and the certificates; the gateway is not started yet."""
    with ExitStack() as stack:
        hosts = {name: stack.enter_context(spaces.space(name)) for name in ("node", "other", "gate", "far")}
        made = World(folder, hosts, authority("nodes", 1))
        for host, near, device in (("node", "eth0", "eth0"), ("far", "eth0", "eth1"), ("other", "eth0", "eth2")):
            wire = ["link", "add", near, "type", "veth", "peer", "name", device, "netns", hosts["gate"]]
            subprocess.run(["ip", "-n", hosts[host], *wire], check=True)
        for host, device, *addresses in (
            ("node", "eth0", "192.0.2.10/24", "2001:db8:1::10/64"),
            ("gate", "eth0", "192.0.2.21/24", "2001:db8:1::21/64"),
            ("gate", "eth1", "198.51.100.21/24", "2001:db8:2::21/64"),
            ("gate", "eth2", "203.0.113.1/24"),
            ("far", "eth0", f"{ORIGIN[0]}/24", f"{ORIGIN[1]}/64"),
            ("other", "eth0", "203.0.113.10/24"),
        ):
            for address in addresses:
                made.run(host, "ip", "addr", "add", address, "dev", device, *(["nodad"] if ":" in address else []))
            made.run(host, "ip", "link", "set", device, "up")
            made.run(host, "ip", "link", "set", "lo", "up")
        made.run("other", "ip", "route", "add", "192.0.2.21", "via", "203.0.113.1")
        server = issue(made.ca, "gw", server=True, days=1, alternatives=["192.0.2.21"])
        for name, text in (
            ("ca.crt", made.ca.certificate),
            ("gateway.crt", server.certificate),
            ("gateway.key", server.key),
            ("shared.secret", base64.b64encode(SECRET).decode()),
        ):
            made.written(name, text)
        made.write_site()
        made.echo("far")
        try:
            yield made
        finally:
            for process in made.started:
                process.kill()
                process.wait(10)
