from pathlib import Path

import pytest
import yaml

from pointsman.gateway.addresses import Pool
from pointsman.gateway.config import load_gateway, read_gateway
from pointsman.model.problem import Invalid, Problem
from pointsman.model.tunnel import Endpoint, Kind

GOOD = {
    "apiVersion": "pointsman/v1",
    "kind": "Gateway",
    "user": 64002,
    "uplinks": ["eth1"],
    "wireguard": {"address": "192.0.2.21", "networks": ["fd71::/64", "10.71.0.0/24"]},
}


def problems(tmp_path: Path, **changed: object) -> list[Problem]:
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump({**GOOD, **changed}))
    with pytest.raises(Invalid) as invalid:
        load_gateway(file)
    assert all(problem.place.file == str(file) and problem.place.line for problem in invalid.value.problems)
    return list(invalid.value.problems)


def labels(tmp_path: Path, **changed: object) -> list[str]:
    return sorted(problem.label for problem in problems(tmp_path, **changed))


def test_a_short_file_is_enough(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(yaml.safe_dump(GOOD))
    found = load_gateway(tmp_path / "gateway.yaml")
    [server] = found.servers

    assert (server.kind, server.endpoint) == (Kind.WIREGUARD, Endpoint("192.0.2.21", 51820, "udp"))
    assert server.pool == Pool(("10.71.0.0/24", "fd71::/64"))
    assert (found.masquerade, found.drops_others, found.api) == (True, True, None)
    assert (found.capacity.tunnels, found.capacity.per_node, found.capacity.bandwidth) == (1000, 1000, None)


def test_what_one_node_and_one_tunnel_may_have_is_said_beside_the_whole(tmp_path: Path) -> None:
    said = {"perNode": 4, "bandwidth": "1Gbit", "bandwidthPerNode": "100Mbit", "connectionsPerTunnel": 50}
    (tmp_path / "gateway.yaml").write_text(yaml.safe_dump({**GOOD, "capacity": said}))
    found = load_gateway(tmp_path / "gateway.yaml").capacity

    assert (found.per_node, found.bandwidth, found.bandwidth_per_node, found.connections) == (4, 10**9, 10**8, 50)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    wireguard = {"address": "gw.example", "networks": ["10.71.0.0/24", "10.71.0.5/24"], "device": "eth1"}
    openvpn = {"address": "192.0.2.21", "networks": ["10.71.0.128/25", "10.73.0.0/30"]}

    assert labels(tmp_path, user=0, wireguard=wireguard, openvpn=openvpn) == [
        "duplicate-device",
        "duplicate-network",
        "duplicate-network",
        "malformed",
        "malformed",
        "unfit-user",
    ]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"wireguard": None}, ["missing-field"]),
        ({"openvpn": {"address": "192.0.2.21", "networks": ["fd73::/64"]}}, ["missing-field"]),
        ({"api": {"listen": ["all"], "certificate": "a", "key": "b", "nodes": "c"}}, ["malformed"]),
        ({"user": "nobody-of-that-name"}, ["unfit-user"]),
        ({"nat": "yes", "uplinks": [], "capacty": {}}, ["malformed", "unknown-field", "unknown-value"]),
        ({"capacity": {"bandwidth": "fast", "bandwidthPerNode": "1", "tunnels": 0}}, ["malformed"] * 3),
        ({"kind": "Node"}, ["other-kind"]),
    ],
)
def test_a_problem_has_a_label_and_a_place(tmp_path: Path, changed: dict[str, object], expected: list[str]) -> None:
    assert labels(tmp_path, **changed) == expected


def test_a_user_that_only_its_host_has_is_no_problem_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(yaml.safe_dump({**GOOD, "user": "nobody-of-that-name"}))
    found = read_gateway(tmp_path / "gateway.yaml")

    assert (found.problems, [one.label for one in found.here]) == ((), ["unfit-user"])


def test_nodes_dial_the_address_of_each_server(tmp_path: Path) -> None:
    servers = [("10.71.0.0/24", "192.0.2.21"), ("10.73.0.0/24", "2001:DB8::21"), ("10.73.0.0/24", "gw.example")]
    for networks, address in servers:
        openvpn = {"address": address, "networks": [networks]}
        (tmp_path / "gateway.yaml").write_text(yaml.safe_dump({**GOOD, "openvpn": openvpn}))
        expected = {"192.0.2.21": ("192.0.2.21",), "2001:DB8::21": ("192.0.2.21", "2001:db8::21")}
        assert read_gateway(tmp_path / "gateway.yaml").dialled == expected.get(address, ("192.0.2.21",))
