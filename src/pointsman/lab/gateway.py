"""The far ends of the tunnels, each a real `pointsman gateway`, and the files with which the instance reaches them.

Two tunnels are there from the start, one file each. The instance can ask all gateways for more: it has a certificate
that they accept. OpenVPN pushes a default route, as many do; what must not happen is that the instance takes it.
"""

import base64
import os
import subprocess
import sys
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

import yaml

from pointsman.lab import exec as on
from pointsman.lab.keys import write_private
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.lab.world import GATEWAYS, INSTANCE, NODE_NAME, TUNNEL_USER, Gateway
from pointsman.model.fault import Fault
from pointsman.model.tunnel import Kind
from pointsman.system.certificates import Credential, authority, issue

_DAYS = 30
# what the instance and all gateways share; the instance's node file names it where a test asks for it
SHARED_FILE = "gateway.secret"
_PORTS = {Kind.WIREGUARD: 51820, Kind.OPENVPN: 1194}


@dataclass(frozen=True, slots=True)
class Inner:
    """The addresses inside one tunnel: the gateway's and the instance's."""

    gateway: tuple[str, str]
    instance: tuple[str, str]


def inner(gateway: Gateway) -> Inner:
    """Return the addresses inside a tunnel: the gateway has the first of each network, the instance the second."""
    v4, v6 = (ip_network(network) for network in gateway.networks)
    return Inner((str(v4[1]), str(v6[1])), (str(v4[2]), str(v6[2])))


def pool_file(gateway: Gateway) -> str:
    """Return the name of the file with which the instance reaches a gateway."""
    return f"{gateway.tunnel}.{'ovpn' if gateway.kind is Kind.OPENVPN else 'conf'}"


def start_gateways(lab: Lab) -> None:
    """Start all gateways, write the instance's files for them, and return when they serve."""
    nodes = authority("nodes", _DAYS)
    named = issue(nodes, INSTANCE, server=False, days=_DAYS, alternatives=[f"urn:pointsman:node:{NODE_NAME}"])
    write_private(lab.node / "node.crt", named.certificate)
    write_private(lab.node / "node.key", named.key)
    write_private(lab.node / "gateway-ca.crt", nodes.certificate)
    write_private(lab.node / SHARED_FILE, base64.b64encode(os.urandom(32)).decode())
    started = [(gateway, start_gateway(lab, gateway, nodes)) for gateway in GATEWAYS]
    for gateway, process in started:
        await_gateway(lab, gateway, process)
        _add(lab, gateway)


def start_gateway(lab: Lab, gateway: Gateway, nodes: Credential | None = None) -> "subprocess.Popen[bytes]":
    """Start one gateway; with an authority for nodes, make its own files first."""
    file = lab.home(gateway.host) / "gateway.yaml"
    if nodes is not None:
        folder = lab.keys / gateway.host
        folder.mkdir(mode=0o700)
        addresses = [gateway.endpoint.address]
        made = issue(nodes, gateway.host, server=True, days=_DAYS, alternatives=addresses)
        write_private(folder / "gateway.crt", made.certificate)
        write_private(folder / "gateway.key", made.key)
        file.write_text(yaml.safe_dump(_site(lab, gateway), sort_keys=False))
    return on.start(lab, gateway.host, [sys.executable, "-m", "pointsman", "gateway", "-c", str(file)], "gateway")


def await_gateway(lab: Lab, gateway: Gateway, process: "subprocess.Popen[bytes]") -> None:
    """Return when a gateway that was started serves."""
    ready, log = _runtime(lab, gateway) / "ready", lab.log(gateway.host, "gateway")

    def serves() -> bool:
        return ready.exists() and ready.read_text() == str(process.pid)

    until(lambda: serves() or process.poll() is not None, f"the gateway on {gateway.host} serves", log, within=30)
    if process.poll() is not None:
        raise Fault(
            "lab-gateway", f"start the gateway on {gateway.host}", log.read_text(errors="replace")[-800:].strip()
        )


def _site(lab: Lab, gateway: Gateway) -> dict[str, object]:
    keys = lab.keys / gateway.host
    servers: dict[str, dict[str, object]] = {}
    for kind, networks, device in gateway.servers:
        where = {"address": gateway.endpoint.address, "port": _PORTS[kind]}
        servers[kind.value] = {**where, "networks": list(networks), "device": device}
    servers[Kind.OPENVPN.value]["redirectGateway"] = True
    return {
        "apiVersion": "pointsman/v1",
        "kind": "Gateway",
        "name": gateway.host,
        "runtime": "gateway",
        "state": str(keys / "state"),
        "user": TUNNEL_USER,
        "uplinks": [gateway.masquerade],
        "api": {
            "listen": [gateway.endpoint.address],
            "certificate": str(keys / "gateway.crt"),
            "key": str(keys / "gateway.key"),
            "nodes": str(lab.node / "gateway-ca.crt"),
            "secrets": {NODE_NAME: str(lab.node / SHARED_FILE)},
        },
        **servers,
    }


def _add(lab: Lab, gateway: Gateway) -> None:
    """Do what `pointsman gateway add` does, without the time that a command takes to start."""
    answer = on.told(_runtime(lab, gateway), "/v1/add", {"name": gateway.tunnel, "kind": gateway.kind.value})
    write_private(lab.node / pool_file(gateway), answer["file"])


def has(lab: Lab, host: str, tunnel: str) -> bool:
    """Return whether the gateway on this host has a tunnel of this name, as `pointsman gateway tunnels` says."""
    gateway = next(gateway for gateway in GATEWAYS if gateway.host == host)
    return any(one["id"] == tunnel for one in on.told(_runtime(lab, gateway), "/v1/tunnels"))


def _runtime(lab: Lab, gateway: Gateway) -> Path:
    return lab.home(gateway.host) / "gateway"
