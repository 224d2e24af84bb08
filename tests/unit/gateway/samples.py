"""A gateway and what is asked of it, as values."""

import base64
from dataclasses import replace
from pathlib import Path

from pointsman.gateway.addresses import Pool
from pointsman.gateway.admission import Admitted, Capacity, admit
from pointsman.gateway.grant import Grant, Request, State
from pointsman.gateway.request import wireguard
from pointsman.gateway.site import Gateway, Server
from pointsman.model.profile import Qos
from pointsman.model.tunnel import Endpoint, Kind

POOLS = {
    Kind.WIREGUARD: Pool(("10.71.0.0/29", "fd71::/64")),
    Kind.OPENVPN: Pool(("10.73.0.0/24", "fd73::/64")),
}
CAPACITY = Capacity(
    tunnels=5, per_node=3, bandwidth=10_000_000, bandwidth_per_node=9_000_000, connections=100, pools=POOLS
)
SITE = Gateway(
    name="gw",
    runtime=Path("/run/gw"),
    state=Path("/var/lib/gw"),
    uid=64002,
    uplinks=("eth1",),
    masquerade=True,
    drops_others=True,
    api=None,
    servers=(
        Server(Kind.WIREGUARD, Endpoint("192.0.2.21", 51820, "udp"), POOLS[Kind.WIREGUARD], "wg0", 1420),
        Server(Kind.OPENVPN, Endpoint("192.0.2.21", 1194, "udp"), POOLS[Kind.OPENVPN], "tun0", 1400),
    ),
    capacity=CAPACITY,
)


def key(number: int) -> str:
    """Return a WireGuard key that is the same for the same number."""
    return base64.b64encode(bytes([number]) * 32).decode()


def asked(
    name: str = "a", owner: str = "alpha", number: int = 1, bandwidth: int | None = None, ttl: int | None = 60
) -> Request:
    """Return a request for a WireGuard tunnel."""
    return wireguard(owner, name, key(number), "", bandwidth, Qos.DEFAULT, ttl)


def granted(*requests: Request, state: State | None = None) -> State:
    """Return the state in which these requests were granted at time 0, without limits but those of addresses."""
    now = state or State()
    for request in requests:
        decided = admit(
            request, now, replace(CAPACITY, tunnels=99, per_node=99, bandwidth=None, bandwidth_per_node=None), 0
        )
        assert isinstance(decided, Admitted), decided
        now = now.having(decided.grant)
    return now


def only(state: State) -> Grant:
    """Return the only grant of a state."""
    [grant] = state.grants.values()
    return grant
