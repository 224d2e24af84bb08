"""Edges: each driver makes tunnels of one kind in the running kernel."""

from collections.abc import Mapping

from pointsman.model.tunnel import Kind
from pointsman.tunnels.drivers.direct import DirectDriver
from pointsman.tunnels.drivers.openvpn import OpenvpnDriver
from pointsman.tunnels.drivers.wireguard import WireguardDriver
from pointsman.tunnels.port import Driver


def drivers(spoken_for: frozenset[str] = frozenset()) -> Mapping[Kind, Driver]:
    """Return a driver for each kind; `spoken_for` are addresses that no gateway may give."""
    return {
        Kind.WIREGUARD: WireguardDriver(),
        Kind.OPENVPN: OpenvpnDriver(spoken_for),
        Kind.DIRECT: DirectDriver(),
    }
