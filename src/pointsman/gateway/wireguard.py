"""The WireGuard server: one device for all tunnels, by the kernel's module where there is one, else by wireguard-go."""

import base64
import time
from collections.abc import Iterable

from pointsman.gateway.grant import Grant
from pointsman.gateway.server import Seen, Traffic
from pointsman.gateway.site import Server
from pointsman.model.fault import Fault
from pointsman.system import netlink
from pointsman.tunnels.drivers import child, device, kernel, link, uapi, userspace
from pointsman.tunnels.port import Berth, Link, Peer, WireguardSpec


class WireguardServer:
    """One WireGuard device. Its peers are the tunnels."""

    def __init__(self, site: Server, berth: Berth, private_key: str) -> None:
        self.site = site
        self._berth = berth
        self._key = private_key

    def start(self) -> None:
        """Make the device, or adopt the one that is there, and give it key, port, addresses and routes."""
        if not kernel.available(self._berth):
            self._run_daemon()
        found = self._found()
        if not uapi.settings(self._spec()) <= device.look(self._berth, found).settings:
            device.tell(self._spec(), self._berth, found)
        if not link.dressed_as(found, self._berth, self.site.pool.gateway, self.site.mtu):
            link.dress(self._berth, self.site.pool.gateway, self.site.mtu)
        netlink.reach(self.site.pool.networks, self._berth.link)
        child.bound_log(self._berth)

    def observe(self) -> Seen:
        """Say which peers the device has, and what went through."""
        found = link.look(self._berth.link)
        if found is None:
            return Seen(child.last_words(self._berth) or "the device is not there")
        seen = device.look(self._berth, found)
        now = time.time()
        known: dict[str, list[str]] = {peer.key: [] for peer in seen.peers}
        for key, *said in sorted(seen.settings):
            if key:
                known[key].append("=".join(said))
        ready = link.dressed_as(found, self._berth, self.site.pool.gateway, self.site.mtu)
        return Seen(
            "" if ready and uapi.settings(self._spec()) <= seen.settings else "the device is not set up",
            {_base64(key): "\n".join(said) for key, said in known.items()},
            {_base64(peer.key): _traffic(peer, now) for peer in seen.peers},
        )

    def entry(self, grant: Grant) -> str:
        """Return what the device must know of a peer."""
        told = uapi.settings(self._spec(grant))
        return "\n".join("=".join(said) for key, *said in sorted(told) if key)

    def change(self, put: Iterable[Grant], drop: Iterable[str]) -> None:
        """Add and remove peers; the others do not notice."""
        device.tell(self._spec(*put), self._berth, self._found(), drop)

    def stop(self) -> None:
        """End the device."""
        child.end(self._berth)
        link.remove(self._berth)
        child.clear(self._berth)

    def _spec(self, *grants: Grant) -> WireguardSpec:
        peers = tuple(
            Peer(
                grant.identity, None, tuple(sorted(_host(own) for own in grant.addresses)), 0, grant.asked.preshared_key
            )
            for grant in grants
        )
        return WireguardSpec(self._key, self.site.pool.gateway, peers, self.site.mtu, self.site.endpoint.port)

    def _run_daemon(self) -> None:
        if child.find(self._berth) is not None and link.look(self._berth.link) is not None:
            return
        child.end(self._berth)
        userspace.launch(self._berth, "server")

    def _found(self) -> Link:
        found = link.look(self._berth.link)
        if found is None:
            why = child.last_words(self._berth) or "it is gone"
            raise Fault("tunnel-link", f"use link `{self._berth.link}`", why)
        return found


def _traffic(peer: uapi.SeenPeer, now: float) -> Traffic:
    return Traffic(max(0.0, now - peer.handshake) if peer.handshake else None, peer.received, peer.sent)


def _host(address: str) -> str:
    return f"{address}/{128 if ':' in address else 32}"


def _base64(key: str) -> str:
    return base64.b64encode(bytes.fromhex(key)).decode()
