"""OpenVPN tunnels: openvpn 2.6 as a child with no capability at all, watched by its management socket.

The daemon drives a tun link that was made for its user. It reads its configuration, keys included, from a
pipe. The address that the gateway gave is taken from the management socket and set by `tend`, unless it is one that no
gateway may give: it would be this host's own, and take what the host sends there.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass

from pointsman.model.fault import Fault
from pointsman.model.tunnel import State
from pointsman.tunnels.drivers import child, link, management
from pointsman.tunnels.drivers.files import held_text
from pointsman.tunnels.ovpn_config import MANAGEMENT_SOCKET, configuration
from pointsman.tunnels.port import MARK, NO_LINKS, Berth, Link, Links, Observation, OpenvpnSpec, Spec, digest


class OpenvpnDriver:
    """Makes OpenVPN tunnels."""

    def __init__(self, spoken_for: frozenset[str] = frozenset()) -> None:
        """`spoken_for` are addresses that no gateway may give."""
        self._spoken_for = spoken_for

    def start(self, spec: Spec, berth: Berth) -> None:
        """Start the daemon, or adopt the one that is already there with this very spec."""
        spec = _own(spec)
        living = child.find(berth)
        if living is not None and living.digest == digest(spec) and link.look(berth.link) is not None:
            return
        child.end(berth)
        work = child.prepare(berth)
        (work / MANAGEMENT_SOCKET).unlink(missing_ok=True)
        link.make_tun(berth)
        link.dress(berth, (), spec.mtu)
        pipe = held_text(configuration(spec, berth.link))
        try:
            command = child.Command(("openvpn", "--config", "stdin"), stdin=pipe, tun=True)
            child.launch(berth, digest(spec), command)
        finally:
            os.close(pipe)

    def tend(self, spec: Spec, berth: Berth, links: Links = NO_LINKS) -> Observation:
        """Give the link the addresses that the gateway gave, then say what is there."""
        spec = _own(spec)
        child.bound_log(berth)
        found, said = links.get(berth.link) or link.look(berth.link), _ask(spec, berth)
        if found is None or isinstance(said, _Silent):
            return _observation(spec, berth, found, said)
        refused = self._refused(spec, said, links)
        wanted = said.addresses if said.connected and not refused else ()
        if not link.dressed_as(found, berth, wanted, spec.mtu):
            found = link.dress(berth, wanted, spec.mtu)
        return _observation(spec, berth, found, said, refused)

    def revive(self, spec: Spec, berth: Berth) -> None:
        """Have it greet its gateway anew, unless it does: by itself it would when `ping-restart` is over."""
        said = _ask(_own(spec), berth)
        if not isinstance(said, _Silent) and said.connected:
            management.converse(berth.folder / "work" / MANAGEMENT_SOCKET, (b"signal SIGUSR1\n", b"SUCCESS: "))

    def stop(self, berth: Berth) -> None:
        """End the daemon and remove the link and all that the folder holds."""
        child.end(berth)
        link.remove(berth)
        child.clear(berth)

    def _refused(self, spec: OpenvpnSpec, said: "management.Said", links: Links) -> str:
        if not said.connected:
            return ""
        seen = (links or link.look_at_all()).values()
        pushed = set(said.addresses)
        own = {at for one in seen if not one.alias.startswith(MARK) for at in one.addresses if at in pushed}
        return refused(said.addresses, spec.addresses, (self._spoken_for & pushed) | own)


def refused(pushed: Iterable[str], expected: tuple[str, ...], spoken_for: frozenset[str]) -> str:
    """Return why a link is not given the addresses that its gateway pushed, nothing where it is."""
    for address in pushed:
        if expected and address not in expected:
            return f"the gateway pushed {address}, which is not what it gave"
        if address in spoken_for:
            return f"the gateway pushed {address}, which this host knows elsewhere"
    return ""


@dataclass(frozen=True, slots=True)
class _Silent:
    """Nobody answers at the management socket: for now, or for good, so that a start is due."""

    for_good: bool
    why: str


def _observation(
    spec: OpenvpnSpec, berth: Berth, found: Link | None, said: "management.Said | _Silent", refused: str = ""
) -> Observation:
    def seen(state: State, why: str, sources: tuple[str, ...] = (), sent: int = 0) -> Observation:
        return Observation(state, berth.link, sources, found.mtu if found else 0, None, sent, why)

    if isinstance(said, _Silent):
        return seen(State.GONE if said.for_good else State.PROVISIONING, said.why)
    if found is None:
        return seen(State.GONE, "the link is gone", (), said.sent)
    if not said.connected:
        return seen(State.PROVISIONING, said.why, (), said.sent)
    if refused:
        return seen(State.FAILED, refused, (), said.sent)
    if not said.addresses:
        return seen(State.FAILED, "the gateway gave no address", (), said.sent)
    if not link.dressed_as(found, berth, said.addresses, spec.mtu):
        return seen(State.PROVISIONING, "the link is not set up", (), said.sent)
    return seen(State.UP, "", said.addresses, said.sent)


def _ask(spec: OpenvpnSpec, berth: Berth) -> "management.Said | _Silent":
    living = child.find(berth)
    if living is None:
        started = (berth.folder / "pid").exists()
        return _Silent(True, (child.last_words(berth) or "the daemon ended") if started else "")
    if living.digest != digest(spec):
        return _Silent(True, "it was made from another file")
    try:
        return management.ask(berth.folder / "work" / MANAGEMENT_SOCKET)
    except Fault as fault:
        return _Silent(False, fault.why)


def _own(spec: Spec) -> OpenvpnSpec:
    if not isinstance(spec, OpenvpnSpec):
        raise TypeError(f"an OpenVPN tunnel cannot be made from {type(spec).__name__}")
    return spec
