from ipaddress import ip_address, ip_interface, ip_network

import pytest

from pointsman.lab import world
from pointsman.lab.gateway import inner
from pointsman.lab.world import GATEWAYS, HOSTS

DOCUMENTATION = [ip_network(net) for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")]


def test_every_address_is_from_the_documentation_ranges_and_stands_once() -> None:
    found = [ip_interface(address) for host in HOSTS for leg in host.legs for address in leg.addresses]

    assert len({each.ip for each in found}) == len(found)
    assert [
        each for each in found if not any(each.version == net.version and each.ip in net for net in DOCUMENTATION)
    ] == []


def test_every_default_route_leads_to_an_address_on_one_of_the_hosts_own_networks() -> None:
    for host in HOSTS:
        nets = [ip_interface(address).network for leg in host.legs for address in leg.addresses]
        for gateway in host.gateways:
            address = ip_address(gateway)
            assert any(net.version == address.version and address in net for net in nets), (host.name, gateway)


def test_the_origin_can_tell_by_the_source_which_tunnel_was_taken() -> None:
    seen = [world.seen_as(tunnel) for tunnel in ("direct", *(gateway.tunnel for gateway in GATEWAYS))]

    assert len({address for pair in seen for address in pair}) == 8
    assert seen[0] == ("192.0.2.10", "2001:db8:1::10")


@pytest.mark.parametrize("gateway", GATEWAYS, ids=lambda gateway: gateway.tunnel)
def test_a_gateway_is_dialled_and_seen_at_its_own_addresses(gateway: world.Gateway) -> None:
    own = {address.split("/")[0] for leg in world.host(gateway.host).legs for address in leg.addresses}

    assert {gateway.endpoint.address, *gateway.seen_as} <= own


def test_inside_a_tunnel_the_gateway_comes_first_and_the_instance_second() -> None:
    found = inner(GATEWAYS[0])

    assert found.gateway == ("10.71.0.1", "fd71::1")
    assert found.instance == ("10.71.0.2", "fd71::2")


def test_names_resolve_to_the_origin() -> None:
    own = {address.split("/")[0] for leg in world.host(world.ORIGIN).legs for address in leg.addresses}

    assert {address for _, addresses in world.NAMES for address in addresses} <= own
