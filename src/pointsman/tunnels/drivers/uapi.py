"""WireGuard's configuration protocol for userspace implementations (wireguard.com/xplatform).

Keys travel in this socket and nowhere else. `settings` and `understand` are pure; `exchange` is the edge.
"""

import base64
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pointsman.model.fault import Fault
from pointsman.model.tunnel import Endpoint
from pointsman.tunnels.port import Peer, WireguardSpec

_PATIENCE = 5.0
_LONGEST_ANSWER = 64_000_000
_COUNTED = ("last_handshake_time_sec", "last_handshake_time_nsec", "rx_bytes", "tx_bytes")


@dataclass(frozen=True, slots=True)
class SeenPeer:
    """What a device says of one peer. `handshake` is in seconds since 1970, 0 for never; the rest are bytes."""

    key: str
    handshake: float
    received: int
    sent: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What a WireGuard device says of itself. Keys are hexadecimal; a setting of the device has an empty one."""

    settings: frozenset[tuple[str, ...]] = field(repr=False)
    peers: tuple[SeenPeer, ...]

    @property
    def port(self) -> int:
        """Return the local port of the outer packets, 0 where none is open."""
        return next((int(said[2]) for said in self.settings if said[:2] == ("", "listen_port")), 0)

    @property
    def oldest_handshake(self) -> float:
        """Return when the peer that was silent longest proved itself, in seconds since 1970; 0 for never."""
        return min((peer.handshake for peer in self.peers), default=0.0)

    @property
    def sent(self) -> int:
        """Return the bytes that went to all peers."""
        return sum(peer.sent for peer in self.peers)


def request(spec: WireguardSpec, gone: Iterable[str] = ()) -> str:
    """Return the request that configures a device. Sent twice it changes nothing: no session is lost.

    Peers that are there and not in the spec stay, but for those whose public keys are in `gone`.
    """
    lines = ["set=1", f"private_key={hexadecimal(spec.private_key)}", f"listen_port={spec.listen_port}"]
    if not spec.listen_port:
        lines.pop()
    for peer in spec.peers:
        lines += [f"public_key={hexadecimal(peer.public_key)}", f"preshared_key={_preshared(peer)}"]
        lines += [f"endpoint={where(peer.endpoint)}"] if peer.endpoint else []
        lines += [f"persistent_keepalive_interval={peer.keepalive}"]
        lines += ["replace_allowed_ips=true", *(f"allowed_ip={network}" for network in peer.allowed)]
    for key in gone:
        lines += [f"public_key={hexadecimal(key)}", "remove=true"]
    return "\n".join(lines) + "\n\n"


def settings(spec: WireguardSpec) -> frozenset[tuple[str, ...]]:
    """Return what `understand` must find in a device that is configured as this spec says.

    The endpoint is left out: it follows the gateway's packets, and the guard frees only the declared one.
    """
    found: set[tuple[str, ...]] = {("", "private_key", hexadecimal(spec.private_key))}
    if spec.listen_port:
        found.add(("", "listen_port", str(spec.listen_port)))
    for peer in spec.peers:
        key = hexadecimal(peer.public_key)
        found |= {(key, "preshared_key", _preshared(peer))}
        found |= {(key, "persistent_keepalive_interval", str(peer.keepalive))}
        found |= {(key, "allowed_ip", network) for network in peer.allowed}
    return frozenset(found)


def understand(answer: str) -> Seen:
    """Return what the answer to `get=1` says."""
    found: set[tuple[str, ...]] = set()
    peers: dict[str, dict[str, float]] = {}
    peer = ""
    for line in answer.splitlines():
        key, _, value = line.partition("=")
        if key == "public_key":
            peer = value
            peers[peer] = dict.fromkeys(_COUNTED, 0)
        elif key in ("private_key", "listen_port", "preshared_key", "persistent_keepalive_interval", "allowed_ip"):
            found.add((peer, key, value))
        elif key in _COUNTED:
            peers[peer][key] = int(value)
    return Seen(frozenset(found), tuple(_seen_peer(key, counted) for key, counted in peers.items()))


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


def hexadecimal(key: str) -> str:
    """Return a base64 key as the protocol has it."""
    return base64.b64decode(key).hex()


def _preshared(peer: Peer) -> str:
    return hexadecimal(peer.preshared_key) if peer.preshared_key else "0" * 64


def _seen_peer(key: str, counted: Mapping[str, float]) -> SeenPeer:
    seconds, parts, received, sent = (counted[name] for name in _COUNTED)
    return SeenPeer(key, seconds + parts / 1e9, int(received), int(sent))


def where(endpoint: Endpoint) -> str:
    """Return an endpoint's address and port in one word."""
    address = endpoint.address
    return f"[{address}]:{endpoint.port}" if ":" in address else f"{address}:{endpoint.port}"
