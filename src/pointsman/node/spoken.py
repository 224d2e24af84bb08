"""Which addresses no gateway may give a tunnel: this host would keep what it sends there.

An address of a link is local. What is bound to no device does not leave for it any more: the agent's DNS, outer packets
of other tunnels, what gateways are asked. And the kernel drops whatever comes from it by IPv4 as a martian (RFC 1812,
5.3.7), through whichever tunnel. That two tunnels have the same address inside harms neither.
"""

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from pointsman.model.policy import Policy
from pointsman.node.config import Node
from pointsman.tunnels.port import Spec


def by_node(node: Node, specs: Iterable[Spec]) -> frozenset[str]:
    """Return whom this node asks, calls and probes: resolvers, gateways, endpoints, and what answers behind tunnels."""
    endpoints = [endpoint.address for spec in specs for endpoint in spec.endpoints]
    probes = [entry.probe for entry in node.entries if entry.probe]
    gateways = [gateway.address for gateway in node.gateways]
    return frozenset(str(ip_address(text)) for text in (*node.resolvers, *gateways, *endpoints, *probes))


def by_policy(policy: Policy) -> frozenset[str]:
    """Return the destinations that are single hosts. A network may well have one of the inner ones in it."""
    networks = (ip_network(text) for destination in policy.destinations for text in destination.addresses)
    return frozenset(str(one.network_address) for one in networks if one.num_addresses == 1)
