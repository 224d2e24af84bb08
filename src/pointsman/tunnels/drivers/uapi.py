"""WireGuard's configuration protocol for userspace implementations (wireguard.com/xplatform).

Keys travel in this socket and nowhere else. `settings` and `understand` are pure; `exchange` is the edge.
"""

import base64
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from pointsman.model.fault import Fault
from pointsman.tunnels.port import Peer, WireguardSpec

_PATIENCE = 5.0
_LONGEST_ANSWER = 4_000_000


@dataclass(frozen=True, slots=True)
class Seen:
    """What a WireGuard device says of itself. `handshake` is in seconds since 1970, 0 for never."""

    settings: frozenset[tuple[str, ...]]
    handshakes: tuple[float, ...]
    received: int
    sent: int


def request(spec: WireguardSpec) -> str:
    """Return the request that configures a device. Sent twice it changes nothing: no session is lost."""
    lines = ["set=1", f"private_key={_hex(spec.private_key)}", f"listen_port={spec.listen_port}"]
    if not spec.listen_port:
        lines.pop()
    for peer in spec.peers:
        lines += [f"public_key={_hex(peer.public_key)}", f"preshared_key={_preshared(peer)}"]
        lines += [f"endpoint={_endpoint(peer)}", f"persistent_keepalive_interval={peer.keepalive}"]
        lines += ["replace_allowed_ips=true", *(f"allowed_ip={network}" for network in peer.allowed)]
    return "\n".join(lines) + "\n\n"


def settings(spec: WireguardSpec) -> frozenset[tuple[str, ...]]:
    """Return what `understand` must find in a device that is configured as this spec says.

    The endpoint is left out: it follows the gateway's packets, and the guard frees only the declared one.
    """
    found: set[tuple[str, ...]] = {("", "private_key", _hex(spec.private_key))}
    for peer in spec.peers:
        key = _hex(peer.public_key)
        found |= {(key, "preshared_key", _preshared(peer))}
        found |= {(key, "persistent_keepalive_interval", str(peer.keepalive))}
        found |= {(key, "allowed_ip", network) for network in peer.allowed}
    return frozenset(found)


def understand(answer: str) -> Seen:
    """Return what the answer to `get=1` says."""
    found: set[tuple[str, ...]] = set()
    totals = {"rx_bytes": 0, "tx_bytes": 0}
    handshakes: list[float] = []
    peer = ""
    for line in answer.splitlines():
        key, _, value = line.partition("=")
        if key == "public_key":
            peer = value
        elif key in ("private_key", "preshared_key", "persistent_keepalive_interval", "allowed_ip"):
            found.add((peer, key, value))
        elif key in totals:
            totals[key] += int(value)
        elif key == "last_handshake_time_sec":
            handshakes.append(float(value))
        elif key == "last_handshake_time_nsec":
            handshakes[-1] += int(value) / 1e9
    return Seen(frozenset(found), tuple(handshakes), totals["rx_bytes"], totals["tx_bytes"])


def exchange(path: Path, text: str) -> str:
    """Send a request to the socket of a device and return its answer; raise `Fault` where it refuses."""
    tried = f"configure the device behind `{path}`"
    try:
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with socket.socket(socket.AF_UNIX) as channel:
                channel.settimeout(_PATIENCE)
                # by way of the folder's handle, since socket paths end after 107 bytes
                channel.connect(f"/proc/self/fd/{folder}/{path.name}")
                channel.sendall(text.encode())
                answer = b""
                while not answer.endswith(b"\n\n") and len(answer) < _LONGEST_ANSWER:
                    part = channel.recv(65536)
                    if not part:
                        raise Fault("tunnel-device", tried, "it hung up")
                    answer += part
        finally:
            os.close(folder)
    except OSError as error:
        raise Fault("tunnel-device", tried, str(error)) from error
    lines = answer.decode("ascii", "replace").splitlines()
    code = next((line.removeprefix("errno=") for line in reversed(lines) if line.startswith("errno=")), "?")
    if code != "0":
        raise Fault("tunnel-device", tried, f"error {code}")
    return "\n".join(lines)


def _hex(key: str) -> str:
    return base64.b64decode(key).hex()


def _preshared(peer: Peer) -> str:
    return _hex(peer.preshared_key) if peer.preshared_key else "0" * 64


def _endpoint(peer: Peer) -> str:
    address = peer.endpoint.address
    return f"[{address}]:{peer.endpoint.port}" if ":" in address else f"{address}:{peer.endpoint.port}"
