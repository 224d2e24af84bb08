"""WireGuard by the kernel's module, over generic netlink. Small on purpose: not every machine can test it."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pointsman.model.fault import Fault
from pointsman.model.routing import OUTER_MARK
from pointsman.tunnels.drivers import child, link, uapi
from pointsman.tunnels.port import Berth, WireguardSpec, digest


def available(berth: Berth) -> bool:
    """Say whether the kernel has the module, by making the tunnel's link with it."""
    found = link.look(berth.link)
    if found is not None:
        return found.kind == "wireguard"
    return link.add(berth, "wireguard")


def configure(spec: WireguardSpec, berth: Berth) -> None:
    """Give the link its keys and peers, unless it has just these: a session in use is not thrown away."""
    if child.noted_digest(berth) != digest(spec):
        # peers of another spec may linger in the link, so a new one takes its place
        link.remove(berth)
        link.add(berth, "wireguard")
        child.note_digest(berth, digest(spec))
    if uapi.settings(spec) <= look(berth).settings:
        return
    tell(spec, berth)


def tell(spec: WireguardSpec, berth: Berth, gone: Iterable[str] = ()) -> None:
    """Give the link the keys and peers of this spec; other peers stay, but for those whose keys are in `gone`."""
    with _device(berth) as device:
        own: dict[str, Any] = {"private_key": spec.private_key, "fwmark": OUTER_MARK}
        if spec.listen_port:
            own["listen_port"] = spec.listen_port
        _set(device, berth, own)
        for peer in spec.peers:
            said: dict[str, Any] = {
                "public_key": peer.public_key,
                "persistent_keepalive": peer.keepalive,
                "allowed_ips": list(peer.allowed),
                "replace_allowed_ips": True,
            }
            if peer.endpoint:
                said |= {"endpoint_addr": peer.endpoint.address, "endpoint_port": peer.endpoint.port}
            if peer.preshared_key:
                said["preshared_key"] = peer.preshared_key
            _set(device, berth, {"peer": said})
        for key in gone:
            _set(device, berth, {"peer": {"public_key": key, "remove": True}})


def look(berth: Berth) -> uapi.Seen:
    """Return what the link says of itself, in the words of the userspace protocol."""
    with _device(berth) as device:
        return understand(device.info(berth.link))


def understand(messages: Iterable[Any]) -> uapi.Seen:
    """Return what the kernel's answer says."""
    found: set[tuple[str, ...]] = set()
    peers: list[uapi.SeenPeer] = []
    for message in messages:
        private = message.get_attr("WGDEVICE_A_PRIVATE_KEY")
        if private:
            found.add(("", "private_key", _hex(private)))
        port = message.get_attr("WGDEVICE_A_LISTEN_PORT")
        if port:
            found.add(("", "listen_port", str(port)))
        for peer in message.get_attr("WGDEVICE_A_PEERS") or ():
            key = _hex(peer.get_attr("WGPEER_A_PUBLIC_KEY"))
            preshared = peer.get_attr("WGPEER_A_PRESHARED_KEY")
            found.add((key, "preshared_key", _hex(preshared) if preshared else "0" * 64))
            keepalive = peer.get_attr("WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL") or 0
            found.add((key, "persistent_keepalive_interval", str(keepalive)))
            for allowed in peer.get_attr("WGPEER_A_ALLOWEDIPS") or ():
                found.add((key, "allowed_ip", allowed["addr"]))
            last = peer.get_attr("WGPEER_A_LAST_HANDSHAKE_TIME")
            handshake = last["tv_sec"] + last["tv_nsec"] / 1e9 if last else 0.0
            counted = (peer.get_attr("WGPEER_A_RX_BYTES") or 0, peer.get_attr("WGPEER_A_TX_BYTES") or 0)
            peers.append(uapi.SeenPeer(key, handshake, *counted))
    return uapi.Seen(frozenset(found), tuple(peers))


def _hex(key: Mapping[str, bytes] | bytes) -> str:
    value = key["value"] if isinstance(key, Mapping) else key
    return base64.b64decode(value).hex()


def _set(device: Any, berth: Berth, said: Mapping[str, Any]) -> None:
    try:
        device.set(berth.link, **said)
    except ValueError as error:  # what cannot even be put into a message, like a key of another length
        raise _fault(berth, error) from error


@contextmanager
def _device(berth: Berth) -> Iterator[Any]:
    from pyroute2 import WireGuard
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with WireGuard() as device:
            yield device
    except (OSError, NetlinkError) as error:
        raise _fault(berth, error) from error


def _fault(berth: Berth, error: Exception) -> Fault:
    return Fault("tunnel-device", f"configure link `{berth.link}` of tunnel `{berth.name}`", str(error))
