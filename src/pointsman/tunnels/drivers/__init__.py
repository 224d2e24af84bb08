"""Edges: each driver makes tunnels of one kind in the running kernel."""

from collections.abc import Mapping

from pointsman.model.tunnel import Kind
from pointsman.tunnels.drivers.direct import DirectDriver
from pointsman.tunnels.drivers.openvpn import OpenvpnDriver
from pointsman.tunnels.drivers.wireguard import WireguardDriver
from pointsman.tunnels.port import Driver

DRIVERS: Mapping[Kind, Driver] = {
    Kind.WIREGUARD: WireguardDriver(),
    Kind.OPENVPN: OpenvpnDriver(),
    Kind.DIRECT: DirectDriver(),
}
