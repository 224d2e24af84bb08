"""The gateway's own file: where nodes ask, which servers there are, and what they may give. Told are all problems."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from pointsman.gateway import form
from pointsman.gateway.addresses import FIRST, Pool
from pointsman.gateway.admission import Capacity
from pointsman.gateway.site import Api, Gateway, Server
from pointsman.model.problem import Invalid, Place, Problem
from pointsman.model.tunnel import Endpoint, Kind
from pointsman.policy.document import Document, read
from pointsman.policy.form import misfits, other_kind
from pointsman.policy.node import plain
from pointsman.policy.profiles import bandwidth
from pointsman.system.users import uid_of

_OWN_USER = "give the daemons a user of their own (see packaging/systemd/pointsman.sysusers)"


@dataclass(frozen=True, slots=True)
class GatewayFile:
    """A gateway file whose form is right, and what is wrong with it: on any host, and `here` on this one alone."""

    document: Document
    form: form.GatewayDocument
    folder: Path
    problems: tuple[Problem, ...]
    here: tuple[Problem, ...]

    @property
    def api(self) -> Api | None:
        """Return where nodes ask, whatever is wrong with the rest."""
        return _api(self.form.api, self.folder) if self.form.api else None

    @property
    def dialled(self) -> tuple[str, ...]:
        """Return the addresses that nodes dial: tunnels end there, and so nodes ask there."""
        servers = (self.form.wireguard, self.form.openvpn)
        found = (_canonical(one.address) for one in servers if one and _is_address(one.address))
        return tuple(dict.fromkeys(found))

    def gateway(self) -> Gateway:
        """Return the gateway that the file describes; raise `Invalid` where this host cannot run it."""
        if self.problems or self.here:
            raise Invalid([*self.problems, *self.here])
        return _gateway(self.form, self.folder)


def load_gateway(path: Path) -> Gateway:
    """Return the gateway in a file of this host; of what the file names nothing needs to be whole."""
    return read_gateway(path).gateway()


def read_gateway(path: Path) -> GatewayFile:
    """Read a gateway file of any host, whose form must be right. Relative paths count from the file's own folder."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise Invalid([Problem(Place(str(path)), "unreadable", f"cannot be read: {error.strerror}")]) from error
    document = read(text, str(path))
    try:
        found = form.GatewayDocument.model_validate(plain(document.root))
    except ValidationError as error:
        misfit = other_kind(document, "Gateway") or misfits(document, form.GatewayDocument, error, form.PATTERNS)
        raise Invalid([*document.problems, *misfit]) from error
    problems = (*document.problems, *_problems(document, found))
    return GatewayFile(document, found, path.resolve().parent, problems, tuple(_unknown_user(document, found)))


def _gateway(found: form.GatewayDocument, folder: Path) -> Gateway:
    servers = tuple(_servers(found))
    capacity = found.capacity
    return Gateway(
        name=found.name,
        runtime=folder / found.runtime,
        state=folder / found.state,
        uid=uid_of(found.user) or 0,
        uplinks=found.uplinks,
        masquerade=found.nat == "masquerade",
        drops_others=found.other_forwarding == "drop",
        api=_api(found.api, folder) if found.api else None,
        servers=servers,
        capacity=Capacity(
            capacity.tunnels,
            capacity.per_node or capacity.tunnels,
            bandwidth(capacity.bandwidth) if capacity.bandwidth else None,
            bandwidth(capacity.bandwidth_per_node) if capacity.bandwidth_per_node else None,
            capacity.connections_per_tunnel,
            {server.kind: server.pool for server in servers},
        ),
    )


def _api(api: form.Api, folder: Path) -> Api:
    return Api(
        api.listen,
        api.port,
        folder / api.certificate,
        folder / api.key,
        folder / api.nodes,
        folder / api.secret if api.secret else None,
        tuple((node, folder / file) for node, file in sorted(api.secrets.items())),
    )


def _servers(found: form.GatewayDocument) -> Iterator[Server]:
    if found.wireguard:
        said = found.wireguard
        endpoint = Endpoint(_canonical(said.address), said.port, "udp")
        yield Server(Kind.WIREGUARD, endpoint, _pool(said.networks), said.device, said.mtu)
    if found.openvpn:
        over = found.openvpn
        endpoint = Endpoint(_canonical(over.address), over.port, over.protocol)
        yield Server(Kind.OPENVPN, endpoint, _pool(over.networks), over.device, over.mtu, over.redirect_gateway)


def _pool(networks: tuple[str, ...]) -> Pool:
    """Return the pool with its IPv4 network first."""
    return Pool(tuple(sorted((str(ipaddress.ip_network(text)) for text in networks), key=lambda text: ":" in text)))


def _problems(document: Document, found: form.GatewayDocument) -> Iterator[Problem]:
    offered: dict[str, form.Wireguard | form.Openvpn] = {}
    if found.wireguard:
        offered["wireguard"] = found.wireguard
    if found.openvpn:
        offered["openvpn"] = found.openvpn
    if not offered:
        hint = "add a section `wireguard` or `openvpn`"
        yield Problem(document.find(), "missing-field", "the gateway offers no kind of tunnel", hint)
    if uid_of(found.user) == 0:
        yield Problem(document.find("user"), "unfit-user", "the daemons must not run as root", _OWN_USER)
    for i, address in enumerate(found.api.listen if found.api else ()):
        if not _is_address(address):
            yield Problem(document.find("api", "listen", i), "malformed", f"`{address}` is not an address")
    devices = [*found.uplinks]
    taken: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
    for name, server in offered.items():
        if server.device in devices:
            what = f"device `{server.device}` is named twice"
            yield Problem(document.find(name, "device"), "duplicate-device", what, "give the server one of its own")
        devices.append(server.device)
        if not _is_address(server.address):
            hint = "write the address that nodes dial; names are not resolved"
            yield Problem(document.find(name, "address"), "malformed", f"`{server.address}` is not an address", hint)
        yield from _network_problems(document, name, server.networks, taken)


def _unknown_user(document: Document, found: form.GatewayDocument) -> Iterator[Problem]:
    if uid_of(found.user) is None:
        yield Problem(document.find("user"), "unfit-user", f"user `{found.user}` does not exist here", _OWN_USER)


def _network_problems(
    document: Document, name: str, networks: tuple[str, ...], taken: list[ipaddress.IPv4Network | ipaddress.IPv6Network]
) -> Iterator[Problem]:
    families = []
    for i, text in enumerate(networks):
        place = document.find(name, "networks", i)
        try:
            network = ipaddress.ip_network(text)
        except ValueError:
            yield Problem(place, "malformed", f"`{text}` is not a network", "for example `10.71.0.0/24` or `fd71::/64`")
            continue
        if any(type(other) is type(network) and network.overlaps(other) for other in taken):
            yield Problem(place, "duplicate-network", f"`{text}` overlaps another network of this gateway")
        if Pool((str(network),)).last < FIRST:
            yield Problem(place, "malformed", f"`{text}` has no room for a tunnel", "IPv4 needs a /29 or larger")
        families.append(network.version)
        taken.append(network)
    if len(set(families)) < len(families):
        hint = "one IPv4 network and one IPv6 network"
        yield Problem(document.find(name, "networks"), "duplicate-network", "two networks of one family", hint)
    if name == "openvpn" and 4 not in families and len(families) == len(networks):
        what, hint = "openvpn has no IPv4 network", "its clients are told their IPv4 address first (topology subnet)"
        yield Problem(document.find(name, "networks"), "missing-field", what, hint)


def _canonical(address: str) -> str:
    return str(ipaddress.ip_address(address))


def _is_address(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_unspecified or address.is_multicast) and "%" not in text
