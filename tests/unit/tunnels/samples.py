"""Tunnel files for tests. The keys are made of one letter each, so nobody takes them for real ones."""

import base64

from pointsman.model.fault import Fault
from pointsman.model.problem import Invalid
from pointsman.model.profile import Level
from pointsman.model.tunnel import Kind, State, Tunnel
from pointsman.tunnels.ovpn import Ovpn, parse_ovpn
from pointsman.tunnels.wgquick import Wgquick, parse_wgquick

PRIVATE = base64.b64encode(b"A" * 32).decode()
PUBLIC = base64.b64encode(b"B" * 32).decode()
SHARED = base64.b64encode(b"C" * 32).decode()
WIREGUARD = f"""[Interface]
PrivateKey = {PRIVATE}
Address = 10.71.0.2/24, fd71::2/64

[Peer]
PublicKey = {PUBLIC}
AllowedIPs = 0.0.0.0/0, ::/0
Endpoint = 203.0.113.5:51820
"""
FINGERPRINT = ":".join(["AB"] * 32)


def pem(label: str, body: str = "QUJD") -> str:
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"


OPENVPN = (
    "client\ndev tun\nremote 203.0.113.6 1194 udp\nremote-cert-tls server\n"
    f"<ca>\n{pem('CERTIFICATE')}</ca>\n<cert>\n{pem('CERTIFICATE')}</cert>\n"
    f"<key>\n{pem('PRIVATE KEY', 'U0VDUkVU')}</key>\n"
)


def wireguard(text: str = WIREGUARD) -> Wgquick:
    return parse_wgquick(text, "wg.conf")


def openvpn(text: str = OPENVPN, files: dict[str, str] | None = None) -> Ovpn:
    def read(name: str) -> str:
        if name not in (files or {}):
            raise Fault("file", f"read `{name}`", "no such file")
        return (files or {})[name]

    return parse_ovpn(text, "dir/c.ovpn", read)


def problems(kind: str, text: str) -> list[str]:
    """Return what is wrong with a file, each with its line and label."""
    try:
        wireguard(text) if kind == "wireguard" else openvpn(text)
    except Invalid as invalid:
        return [f"{problem.place.line}:{problem.label}" for problem in invalid.problems]
    return []


def said(kind: str, text: str) -> str:
    """Return all that is said about a file: problems, notes, and what would land in a log."""
    try:
        read = wireguard(text) if kind == "wireguard" else openvpn(text)
    except Invalid as invalid:
        return str(invalid) + repr(invalid.problems)
    return repr(read)


def tunnel(name: str, **changes: object) -> Tunnel:
    values: dict[str, object] = {
        "name": name,
        "kind": Kind.WIREGUARD,
        "level": Level.STRONG,
        "labels": (),
        "state": State.UP,
        "device": f"pm{name}",
        "sources": ("10.71.0.2",),
        "endpoints": (),
        "table": 7100,
        "mtu": 1420,
    }
    return Tunnel(**(values | changes))  # type: ignore[arg-type]
