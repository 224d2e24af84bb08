"""No tunnel: packets leave by a device of the host, in clear text. Nothing is made and nothing is removed."""

from ipaddress import ip_address

from pointsman.model.tunnel import State
from pointsman.tunnels.drivers import link
from pointsman.tunnels.port import NO_LINKS, Berth, DirectSpec, Links, Observation, Spec


class DirectDriver:
    """Watches a device of the host."""

    def start(self, spec: Spec, berth: Berth) -> None:
        """Do nothing: the device is the host's."""

    def tend(self, spec: Spec, berth: Berth, links: Links = NO_LINKS) -> Observation:
        """Say what is there: the first address of each family is the source."""
        if not isinstance(spec, DirectSpec):
            raise TypeError(f"a direct way out cannot be made from {type(spec).__name__}")
        found = link.look(spec.device)
        if found is None:
            return Observation(State.FAILED, spec.device, why=f"there is no device `{spec.device}`")
        first = {ip_address(address).version: address for address in reversed(found.addresses)}
        sources = tuple(first[version] for version in sorted(first))
        _, sent = link.traffic(spec.device)
        why = "" if found.up and found.carrier else f"device `{spec.device}` is down"
        if not why and not sources:
            why = f"device `{spec.device}` has no address"
        state = State.FAILED if why else State.UP
        return Observation(state, spec.device, sources, found.mtu, None, sent, why)

    def revive(self, spec: Spec, berth: Berth) -> None:
        """Do nothing: nobody is greeted."""

    def stop(self, berth: Berth) -> None:
        """Do nothing: the device is the host's."""
