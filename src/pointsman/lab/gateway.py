"""The far ends of the tunnels, and the files with which the instance reaches them.

A gateway is what a provider runs: `wireguard-go` or `openvpn --server` in a namespace of its own. OpenVPN pushes a
default route, as many do; what must not happen is that the instance takes it.
"""

import socket
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from pointsman.lab.exec import demand, start
from pointsman.lab.keys import WireguardKeys, base64_text, certificate, wireguard_keys, write_private
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.lab.world import GATEWAYS, Gateway
from pointsman.model.fault import Fault
from pointsman.model.tunnel import Kind


@dataclass(frozen=True, slots=True)
class Inner:
    """The addresses inside one tunnel, with prefix lengths: the gateway's and the instance's."""

    gateway: tuple[str, str]
    instance: tuple[str, str]


def inner(gateway: Gateway) -> Inner:
    """Return the addresses inside a tunnel: the gateway has the first of each network, the instance the second."""
    v4, v6 = (ip_network(network) for network in gateway.networks)
    return Inner(
        (f"{v4[1]}/{v4.prefixlen}", f"{v6[1]}/{v6.prefixlen}"), (f"{v4[2]}/{v4.prefixlen}", f"{v6[2]}/{v6.prefixlen}")
    )


def pool_file(gateway: Gateway) -> str:
    """Return the name of the file with which the instance reaches a gateway."""
    return f"{gateway.tunnel}.{'ovpn' if gateway.kind is Kind.OPENVPN else 'conf'}"


def start_gateways(lab: Lab) -> None:
    """Start all gateways, write the instance's files for them, and return when they listen."""
    for gateway in GATEWAYS:
        if gateway.kind is Kind.WIREGUARD:
            start(lab, gateway.host, ["wireguard-go", "-f", gateway.device], "wireguard")
        else:
            _start_openvpn(lab, gateway)
    for gateway in GATEWAYS:
        if gateway.kind is Kind.WIREGUARD:
            _configure_wireguard(lab, gateway)
        else:
            _await_openvpn(lab, gateway)


def _configure_wireguard(lab: Lab, gateway: Gateway) -> None:
    own, peer = wireguard_keys(), wireguard_keys()
    addresses = inner(gateway)
    write_private(lab.node / pool_file(gateway), _wg_quick(gateway, own, peer))
    hosts = [address.split("/")[0] for address in addresses.instance]
    allowed = "".join(f"allowed_ip={host}/{128 if ':' in host else 32}\n" for host in hosts)
    settings = (
        f"set=1\nprivate_key={own.private.hex()}\nlisten_port={gateway.endpoint.port}\nreplace_peers=true\n"
        f"public_key={peer.public.hex()}\nreplace_allowed_ips=true\n{allowed}\n"
    )
    control = lab.home(gateway.host) / "wireguard" / f"{gateway.device}.sock"
    until(lambda: _tell(control, "get=1\n\n") is not None, f"`wireguard-go` on {gateway.host} answers")
    answer = _tell(control, settings) or "no answer"
    if "errno=0" not in answer:
        raise Fault("lab-wireguard", f"configure `wireguard-go` on {gateway.host}", answer.strip())
    lines = [f"address add {address} dev {gateway.device}" for address in addresses.gateway]
    lines.append(f"link set {gateway.device} mtu 1420 up")
    demand(lab, gateway.host, ["ip", "-batch", "-"], given="\n".join(lines))


def _tell(control: Path, text: str) -> str | None:
    """Say one thing to a wireguard-go and return its answer; None while it does not listen yet."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(5)
        try:
            line.connect(str(control))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        line.sendall(text.encode())
        answer = b""
        while not answer.endswith(b"\n\n") and (more := line.recv(65536)):
            answer += more
    return answer.decode()


def _wg_quick(gateway: Gateway, own: WireguardKeys, peer: WireguardKeys) -> str:
    return f"""# The instance's side of {gateway.tunnel}
[Interface]
PrivateKey = {base64_text(peer.private)}
Address = {", ".join(inner(gateway).instance)}
MTU = 1420

[Peer]
PublicKey = {base64_text(own.public)}
AllowedIPs = 0.0.0.0/0, ::/0
Endpoint = {gateway.endpoint.address}:{gateway.endpoint.port}
PersistentKeepalive = 5
"""


def _start_openvpn(lab: Lab, gateway: Gateway) -> None:
    server, client = certificate(gateway.host, server=True), certificate("instance", server=False)
    v4, v6 = (ip_network(network) for network in gateway.networks)
    common = "dev-type tun\ndata-ciphers AES-256-GCM:CHACHA20-POLY1305\ntls-version-min 1.3\nverb 3\n"
    folder = lab.keys / gateway.host
    folder.mkdir(mode=0o700)
    write_private(
        folder / "server.conf",
        f"{common}dev {gateway.device}\nproto udp4\nlocal {gateway.endpoint.address}\nport {gateway.endpoint.port}\n"
        f"dh none\ntopology subnet\nserver {v4.network_address} {v4.netmask}\nserver-ipv6 {v6}\n"
        "disable-dco\nkeepalive 5 20\n"
        'push "redirect-gateway def1 ipv6"\n'
        f"peer-fingerprint {client.fingerprint}\n"
        f"<cert>\n{server.certificate}</cert>\n<key>\n{server.key}</key>\n",
    )
    write_private(
        lab.node / pool_file(gateway),
        f"# The instance's side of {gateway.tunnel}\nclient\ndev tun\nproto udp\n"
        f"remote {gateway.endpoint.address} {gateway.endpoint.port}\nnobind\nremote-cert-tls server\n"
        f"data-ciphers AES-256-GCM:CHACHA20-POLY1305\ntls-version-min 1.3\nverb 3\n"
        f"peer-fingerprint {server.fingerprint}\n"
        f"<cert>\n{client.certificate}</cert>\n<key>\n{client.key}</key>\n",
    )
    start(lab, gateway.host, ["openvpn", "--config", str(folder / "server.conf")], "openvpn")


def _await_openvpn(lab: Lab, gateway: Gateway) -> None:
    log = lab.log(gateway.host, "openvpn")
    until(lambda: "Initialization Sequence Completed" in log.read_text(), f"`openvpn` on {gateway.host} listens", log)
