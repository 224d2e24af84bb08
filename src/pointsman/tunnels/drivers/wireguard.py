"""WireGuard tunnels: by the kernel's module where there is one, else by wireguard-go as a user of its own."""

import time
from dataclasses import replace

from pointsman.model.fault import Fault
from pointsman.model.tunnel import State
from pointsman.tunnels.drivers import child, device, kernel, link, uapi, userspace
from pointsman.tunnels.port import NO_LINKS, Berth, Link, Links, Observation, Spec, WireguardSpec, digest

# A session is thrown away 180 s after its handshake, and with keepalives a new one is due every 120 s
HANDSHAKE_VALID = 180.0


class WireguardDriver:
    """Makes WireGuard tunnels."""

    def start(self, spec: Spec, berth: Berth) -> None:
        """Bring the tunnel up, or adopt the one that is already there with this very spec."""
        spec = _own(spec)
        if kernel.available(berth):
            kernel.configure(spec, berth)
        else:
            _start_userspace(spec, berth)
        link.dress(berth, spec.addresses, spec.mtu)

    def tend(self, spec: Spec, berth: Berth, links: Links = NO_LINKS) -> Observation:
        """Repair the tunnel's link, then say what is there."""
        spec = _own(spec)
        found = links.get(berth.link) or link.look(berth.link)
        if found is not None and not link.dressed_as(found, berth, spec.addresses, spec.mtu):
            found = link.dress(berth, spec.addresses, spec.mtu)
        child.bound_log(berth)
        return _observation(spec, berth, found)

    def revive(self, spec: Spec, berth: Berth) -> None:
        """Have it greet its gateway anew: by itself it would after 15 s without an answer to data (whitepaper, 6.5)."""
        spec = _own(spec)
        keys, alone = [peer.public_key for peer in spec.peers], replace(spec, peers=())
        found = link.look(berth.link)
        if found is not None and found.kind == "wireguard":
            kernel.tell(alone, berth, keys)
            kernel.tell(spec, berth)
        else:
            uapi.exchange(userspace.socket_path(berth), uapi.request(alone, keys))
            uapi.exchange(userspace.socket_path(berth), uapi.request(spec))

    def stop(self, berth: Berth) -> None:
        """End the daemon and remove the link and all that the folder holds."""
        child.end(berth)
        link.remove(berth)
        child.clear(berth)


def _observation(spec: WireguardSpec, berth: Berth, found: Link | None) -> Observation:
    lacking = _lacking(spec, berth, found)
    if found is None or lacking:
        return Observation(State.GONE, berth.link, why=lacking)
    seen = device.look(berth, found)
    if not uapi.settings(spec) <= seen.settings:
        return Observation(State.GONE, berth.link, mtu=found.mtu, why="the device is not configured yet")
    oldest = seen.oldest_handshake
    age = max(0.0, time.time() - oldest) if oldest else None
    ready = link.dressed_as(found, berth, spec.addresses, spec.mtu)
    state, why = _judge(age, ready)
    sources = spec.addresses if ready else ()
    return Observation(state, berth.link, sources, found.mtu, age, seen.sent, why, seen.port)


def _lacking(spec: WireguardSpec, berth: Berth, found: Link | None) -> str:
    """Return why only a start can help, or nothing. A tunnel that never was has nothing to say either."""
    if found is not None and found.kind == "wireguard":
        return "" if child.noted_digest(berth) == digest(spec) else "it was made from another file"
    living = child.find(berth)
    if living is not None and found is not None:
        return "" if living.digest == digest(spec) else "it was made from another file"
    if living is None and (berth.folder / "pid").exists():
        return child.last_words(berth) or "the daemon ended"
    return "the link is gone" if living else ""


def _judge(age: float | None, ready: bool) -> tuple[State, str]:
    if not ready:
        return State.PROVISIONING, "the link is not set up"
    if age is None:
        return State.PROVISIONING, "the gateway has not answered yet"
    if age >= HANDSHAKE_VALID:
        return State.FAILED, f"the last handshake was {age:.0f} s ago"
    return State.UP, ""


def _start_userspace(spec: WireguardSpec, berth: Berth) -> None:
    living = child.find(berth)
    if living is not None and (living.digest != digest(spec) or link.look(berth.link) is None):
        child.end(berth)
        living = None
    if living is None:
        userspace.launch(berth, digest(spec))
    path = userspace.socket_path(berth)
    try:
        if not uapi.settings(spec) <= uapi.understand(uapi.exchange(path, "get=1\n\n")).settings:
            uapi.exchange(path, uapi.request(spec))
    except Fault as fault:
        words = child.last_words(berth)
        raise Fault(fault.label, f"configure tunnel `{berth.name}`", f"{fault.why} {words}".strip()) from fault


def _own(spec: Spec) -> WireguardSpec:
    if not isinstance(spec, WireguardSpec):
        raise TypeError(f"a WireGuard tunnel cannot be made from {type(spec).__name__}")
    return spec
