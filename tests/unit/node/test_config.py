from pathlib import Path

import pytest
import yaml

from pointsman.model.problem import Invalid
from pointsman.model.profile import Level
from pointsman.model.tunnel import Entry, Kind
from pointsman.node.config import load_node, read_node

GOOD = {
    "apiVersion": "pointsman/v1",
    "kind": "Node",
    "policy": "policy.yaml",
    "users": {"proxy": 64001, "tunnels": 64002},
    "uplinks": ["eth0"],
    "tunnels": [
        {"name": "direct", "kind": "direct", "level": "none", "device": "eth0", "labels": {"b": "2", "a": "1"}}
    ],
}


def problems(tmp_path: Path, **changed: object) -> list[str]:
    return written(tmp_path, yaml.safe_dump({**GOOD, **changed}).encode())


def written(tmp_path: Path, text: bytes) -> list[str]:
    file = tmp_path / "node.yaml"
    file.write_bytes(text)
    with pytest.raises(Invalid) as invalid:
        load_node(file)
    assert all(problem.place.file == str(file) for problem in invalid.value.problems)
    return [problem.label for problem in invalid.value.problems]


def test_paths_count_from_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text(yaml.safe_dump({**GOOD, "runtime": "run", "state": "/var/lib/x"}))

    node = load_node(tmp_path / "node.yaml")

    assert (node.policy, node.runtime, node.state) == (tmp_path / "policy.yaml", tmp_path / "run", Path("/var/lib/x"))
    assert (node.proxy_uid, node.tunnel_uid, node.http, node.auto) == (64001, 64002, ((80, 80),), ())
    assert node.entries == (Entry("direct", Kind.DIRECT, Level.NONE, (("a", "1"), ("b", "2")), "", "eth0"),)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    tunnels = [
        {"name": "a", "kind": "wireguard", "level": "strong"},
        {"name": "a", "kind": "direct", "level": "none", "device": "eth1"},
        {"name": "b", "kind": "direct", "level": "none"},
    ]
    found = problems(
        tmp_path,
        tunnels=tunnels,
        resolvers=["dns.example"],
        capture={"http": [80], "auto": [80]},
        users={"proxy": "nobody-of-this-name", "tunnels": 64002},
    )

    assert sorted(found) == [
        "duplicate-name",
        "duplicate-port",
        "malformed",
        "missing-field",
        "missing-field",
        "not-an-uplink",
        "unknown-user",
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"polcy": "x"},
        {"policy": 7},
        {"uplinks": []},
        {"uplinks": ["eth0\n}; flush ruleset"]},
        {"capture": {"http": [0]}},
        {"capture": {"http": [65536]}},
        {"capture": {"http": ["80"]}},
        {"workers": 0},
        {"inbound": [True]},
        {"tunnels": []},
        {"tunnels": [{"name": "../x", "kind": "direct", "level": "none", "device": "eth0"}]},
        {"tunnels": [{"name": "x", "kind": "ipsec", "level": "none"}]},
        {"tunnels": [{"name": "x", "kind": "direct", "level": "best", "device": "eth0"}]},
        {"apiVersion": "pointsman/v9"},
        {"kind": "Policy"},
    ],
)
def test_hostile_fields_are_refused(tmp_path: Path, changed: dict[str, object]) -> None:
    assert problems(tmp_path, **changed)


@pytest.mark.parametrize(
    "users",
    [
        {"proxy": 64001, "tunnels": 64001},
        {"proxy": 0, "tunnels": 64002},
        {"proxy": 64001, "tunnels": 0},
        {"proxy": -1, "tunnels": 64002},
        {"proxy": 64001, "tunnels": 4294967295},
        {"proxy": 64001, "tunnels": 64002, "exempt": [64001]},
    ],
)
def test_the_guard_s_users_are_two_of_their_own(tmp_path: Path, users: dict[str, object]) -> None:
    assert set(problems(tmp_path, users=users)) <= {"unfit-user", "malformed"}


@pytest.mark.parametrize("text", [b"", b"- a", b"\xff\xfe", b"a: [", b"a: &a [*a]", b"x" * 40_000_000, b"\0"])
def test_what_is_no_node_file_is_refused(tmp_path: Path, text: bytes) -> None:
    assert written(tmp_path, text)


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot be read"):
        load_node(tmp_path / "none.yaml")


def test_users_are_of_this_host_only_where_the_agent_runs(tmp_path: Path) -> None:
    file = tmp_path / "node.yaml"
    file.write_text(yaml.safe_dump({**GOOD, "users": {"proxy": "no-such-user", "tunnels": "nor-this-one"}}))

    node = read_node(file)

    assert [(one.label, one.place.line > 1) for one in node.unknown_users] == [("unknown-user", True)] * 2
    assert node.proxy_uid != node.tunnel_uid
    with pytest.raises(Invalid, match="does not exist here"):
        load_node(file)


def test_a_broken_tunnel_is_not_also_a_missing_one(tmp_path: Path) -> None:
    tunnels = [{"name": "x", "kind": "wireguad", "level": "stron", "devic": "eth0"}]
    (tmp_path / "node.yaml").write_text(yaml.safe_dump({**GOOD, "tunnels": tunnels, "users": {"exempt": [True]}}))

    with pytest.raises(Invalid) as invalid:
        load_node(tmp_path / "node.yaml")

    assert sorted((one.label, one.hint) for one in invalid.value.problems) == [
        ("unknown-field", "did you mean `device`?"),
        ("unknown-value", "did you mean `strong`?"),
        ("unknown-value", "did you mean `wireguard`?"),
        ("wrong-type", "quote it to make it a text"),
    ]


def test_a_probe_is_an_address_inside_a_tunnel(tmp_path: Path) -> None:
    direct = {"name": "d", "kind": "direct", "level": "none", "device": "eth0"}
    wireguard = {"name": "a", "kind": "wireguard", "level": "strong", "file": "a.conf"}

    assert problems(tmp_path, tunnels=[{**wireguard, "probe": "gateway"}]) == ["malformed"]
    assert problems(tmp_path, tunnels=[{**direct, "probe": "10.0.0.1"}]) == ["no-tunnel"]
    good = {**wireguard, "probe": "10.71.0.1", "cost": 3, "weight": 2}
    (tmp_path / "node.yaml").write_text(yaml.safe_dump({**GOOD, "tunnels": [good]}))
    entry = load_node(tmp_path / "node.yaml").entries[0]
    assert (entry.probe, entry.cost, entry.weight) == ("10.71.0.1", 3, 2)


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        ({"rate": "1kbit"}, "bandwidth"),
        ({"rate": "31Gbit"}, "bandwidth"),
        ({"rate": "fast"}, "malformed"),
        ({"outerDscp": 64}, "malformed"),
        ({"outerDscp": 18}, "not-wireguard"),
    ],
)
def test_a_rate_and_a_code_point_outside_are_what_the_kernel_can_do(
    tmp_path: Path, fields: dict[str, object], label: str
) -> None:
    tunnel = {"name": "b", "kind": "openvpn", "level": "strong", "file": "b.ovpn", **fields}

    assert problems(tmp_path, tunnels=[tunnel]) == [label]


def test_a_device_has_one_rate(tmp_path: Path) -> None:
    direct = {"kind": "direct", "level": "none", "device": "eth0", "rate": "100Mbit"}

    assert problems(tmp_path, tunnels=[{"name": "a", **direct}, {"name": "b", **direct}]) == ["duplicate-rate"]
    (tmp_path / "node.yaml").write_text(yaml.safe_dump({**GOOD, "tunnels": [{"name": "a", **direct}]}))
    assert load_node(tmp_path / "node.yaml").entries[0].rate == 100_000_000


GATEWAY = {"address": "192.0.2.21", "ca": "c", "certificate": "c", "key": "k", "name": "gw", "kind": "wireguard"}


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        ({"level": "quantum"}, "missing-field"),
        ({"level": "strong", "kind": "openvpn", "secret": "s"}, "not-wireguard"),
        ({"level": "strong", "rate": "1kbit"}, "bandwidth"),
    ],
)
def test_what_a_gateway_promises_is_what_its_tunnels_can_give(
    tmp_path: Path, fields: dict[str, object], label: str
) -> None:
    assert problems(tmp_path, gateways=[{**GATEWAY, **fields}]) == [label]


def test_spare_tunnels_leave_room_for_the_pool_and_for_holders(tmp_path: Path) -> None:
    spare = [{**GATEWAY, "name": name, "level": "strong", "spares": {"most": 350}} for name in ("a", "b")]

    assert problems(tmp_path, gateways=spare, leases={"node": 200}) == ["too-many-tunnels"]  # and `direct`
    (tmp_path / "node.yaml").write_text(yaml.safe_dump({**GOOD, "gateways": spare, "leases": {"node": 199}}))
    assert [one.most for one in load_node(tmp_path / "node.yaml").gateways] == [350, 350]


def test_the_secret_of_a_gateway_counts_from_the_folder_of_the_file(tmp_path: Path) -> None:
    quantum = {**GATEWAY, "level": "quantum", "secret": "gw.secret"}
    (tmp_path / "node.yaml").write_text(yaml.safe_dump({**GOOD, "gateways": [quantum]}))

    [found] = load_node(tmp_path / "node.yaml").gateways

    assert (found.level, found.secret) == (Level.QUANTUM, str(tmp_path / "gw.secret"))


def test_a_tunnel_is_made_from_a_file_or_from_a_device(tmp_path: Path) -> None:
    both = {"name": "x", "level": "none", "file": "x.conf", "device": "eth0"}

    assert problems(tmp_path, tunnels=[{**both, "kind": "direct"}]) == ["unknown-field"]
    assert problems(tmp_path, tunnels=[{**both, "kind": "openvpn"}]) == ["unknown-field"]


def test_a_file_of_the_wrong_form_still_says_what_is_wrong_with_its_tunnels(tmp_path: Path) -> None:
    tunnels = [{"name": "x", "kind": "direct", "level": "none", "device": "eth1"}, {"name": "y", "kind": "openvpm"}]

    found = problems(tmp_path, tunnels=tunnels, dhpc=True)

    assert sorted(found) == ["missing-field", "not-an-uplink", "unknown-field", "unknown-value"]
    assert problems(tmp_path, tunnels=tunnels[:1], uplinks=7) == ["wrong-type"]


def test_the_place_of_a_tunnel_is_where_it_names_its_file(tmp_path: Path) -> None:
    text = "tunnels:\n  - {name: d, kind: direct, level: none, device: eth0}\n  - name: b\n    kind: openvpn\n"
    head = yaml.safe_dump({name: value for name, value in GOOD.items() if name != "tunnels"})
    (tmp_path / "node.yaml").write_text(f"{text}    level: strong\n    file: b.ovpn\n{head}")

    places = load_node(tmp_path / "node.yaml").places

    assert [(place.line, place.column) for place in places] == [(2, 5), (6, 11)]
