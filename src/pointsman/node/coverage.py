"""Which destinations can a tunnel not carry? A WireGuard device drops what is not in the `AllowedIPs` of its file.

Such a tunnel is not wrong: another one of the same profile may carry what it leaves out. So this is a note.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network

from pointsman.model.attribute import BUILTINS
from pointsman.model.diagram import Leaf, Node
from pointsman.model.policy import Destination, Policy
from pointsman.model.problem import Problem
from pointsman.policy.check import fitting
from pointsman.policy.cost import children
from pointsman.policy.diagram import Compiled, toward
from pointsman.policy.restrict import restrict
from pointsman.system.log import Log
from pointsman.tunnels.pool import Supply
from pointsman.tunnels.port import WireguardSpec

Network = IPv4Network | IPv6Network
_ANYWHERE = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
_SHOWN = 4


def uncovered(policy: Policy, supplies: Iterable[Supply], compile_: Callable[[], Compiled]) -> tuple[Problem, ...]:
    """Return a note for each tunnel whose file leaves out where a rule may send something by it.

    `compile_` compiles the policy, and is called only where a file leaves anything out.
    """
    devices = [_Device(supply) for supply in supplies]
    partial = [device for device in devices if not device.takes(None)]
    if not partial:
        return ()
    reach = _Reach(compile_())
    return tuple(note for device in partial for note in _notes(policy, device, devices, reach))


def tell(log: Log, notes: Iterable[Problem]) -> None:
    """Write these notes to the log."""
    for note in notes:
        log.event(
            "a tunnel does not take all that may be sent by it", where=str(note.place), what=note.what, why=note.hint
        )


class _Device:
    """What the device of a tunnel takes, among addresses of its own family: of others it has no source."""

    def __init__(self, supply: Supply) -> None:
        self.supply = supply
        spec = supply.spec
        self._families: set[int] = set()
        self._allowed: list[Network] = []
        if isinstance(spec, WireguardSpec) and supply.allowed.file:
            self._families = {ip_address(address).version for address in spec.addresses}
            listed = [ip_network(text) for peer in spec.peers for text in peer.allowed]
            self._allowed += collapse_addresses(one for one in listed if isinstance(one, IPv4Network))
            self._allowed += collapse_addresses(one for one in listed if isinstance(one, IPv6Network))

    def takes(self, network: Network | None) -> bool:
        """Return whether it takes all of a network; None is everywhere."""
        wanted = _ANYWHERE if network is None else (network,)
        return all(one.version not in self._families or any(map(_holder(one), self._allowed)) for one in wanted)


class _Reach:
    """Which profiles requests may have on their way to an address."""

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self._address = next(one for one in BUILTINS if one.name == "destination.address")
        self._toward: dict[str, Node] = {}

    def profiles(self, destination: str, network: Network | None) -> frozenset[str]:
        """Return them by a destination's name, empty for none that is declared, and one of its networks, if known."""
        if destination not in self._toward:
            self._toward[destination] = toward(self._compiled, destination)
        node = self._toward[destination]
        if network is not None and network.num_addresses == 1:
            node = restrict(node, self._address, str(network.network_address))
        rules = self._compiled.policy.rules
        return frozenset(profile for leaf in _leaves(node) if (profile := rules[leaf.rule].profile) is not None)


def _notes(policy: Policy, device: _Device, devices: Sequence[_Device], reach: _Reach) -> Iterator[Problem]:
    entry = device.supply.entry
    able = [one for one in policy.profiles if one.holding is None and fitting(one, [entry])]
    others = {one.name: [other for other in devices if fitting(one, [other.supply.entry])] for one in able}
    told, sent, alone = [], set[str](), set[str]()
    for destination in (*policy.destinations, Destination("")):
        missing = []
        for network in _networks(destination):
            found = set() if device.takes(network) else others.keys() & reach.profiles(destination.name, network)
            if found:
                missing.append("any address" if network is None else str(network))
            sent |= found
            alone |= {name for name in found if not any(other.takes(network) for other in others[name])}
        if missing:
            told.append(
                f"`{destination.name}` ({_some(missing, ', ')})" if destination.name else "what is not declared"
            )
    if told:
        what = f"`AllowedIPs` of tunnel `{entry.name}` leave out {_some(told, '; ')}"
        senders = f"profile {_listed(sent)} sends" if len(sent) == 1 else f"profiles {_listed(sent)} send"
        hint = f"its device drops what {senders} there"
        only = f", and no other tunnel of {_listed(alone)} takes it" if alone else ""
        yield Problem(device.supply.allowed, "wg-allowed", what, f"{hint}{only}; add them, or `select` others")


def _networks(destination: Destination) -> tuple[Network | None, ...]:
    """Return the addresses that a destination declares; None stands for those that nobody knows yet."""
    declared = tuple(ip_network(text) for text in destination.addresses)
    return declared if declared and not destination.resolved else (*declared, None)


def _holder(network: Network) -> Callable[[Network], bool]:
    def holds(other: Network) -> bool:
        if isinstance(network, IPv4Network):
            return isinstance(other, IPv4Network) and network.subnet_of(other)
        return isinstance(other, IPv6Network) and network.subnet_of(other)

    return holds


def _some(words: Sequence[str], between: str) -> str:
    more = len(words) - _SHOWN
    return between.join(words[:_SHOWN]) + (f"{between}and {more} more" if more > 0 else "")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _leaves(root: Node) -> Iterator[Leaf]:
    seen, waiting = {id(root)}, [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Leaf):
            yield node
        for child in children(node):
            if id(child) not in seen:
                seen.add(id(child))
                waiting.append(child)
