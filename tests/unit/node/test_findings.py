"""What is found on a host, judged."""

import pytest

from pointsman.model.problem import Place, Problem
from pointsman.node.findings import (
    Finding,
    carried_findings,
    file_findings,
    guard_finding,
    inotify_finding,
    kernel_finding,
    stacked_findings,
    xdp_finding,
)

PROTOCOLS = "protocol  size sockets  memory press\nPACKET    1600      0      -1   NI\n"


@pytest.mark.parametrize(
    ("release", "level"),
    [
        ("5.16.0", "ok"),
        ("6.1.0-28-amd64", "ok"),
        ("10.0", "ok"),
        ("5.15.0-91-generic", "problem"),
        ("4.19.0", "problem"),
        ("unknown", "warning"),
    ],
)
def test_the_egress_hook_needs_a_kernel_that_has_it(release: str, level: str) -> None:
    assert kernel_finding(release).level == level


def test_a_kernel_that_takes_the_closed_guard_is_in_order() -> None:
    assert guard_finding("").level == "ok"


def test_a_kernel_that_refuses_the_closed_guard_is_a_problem_in_its_own_words() -> None:
    said = (
        "/dev/stdin:41:5-24: Error: Could not process rule: Operation not supported\n    meta rtclassid >= 0 accept\n"
    )
    found = guard_finding(said)

    assert found.level == "problem"
    assert "Could not process rule: Operation not supported; " in found.detail
    assert "CONFIG_IP_ROUTE_CLASSID" in found.detail


def test_who_may_not_ask_the_kernel_learns_nothing_about_it() -> None:
    said = "Operation not permitted (you must be root)\nnetlink: Error: cache initialization failed"

    assert guard_finding(said) == Finding("guard", "warning", "not asked: only root may")


@pytest.mark.parametrize(
    ("line", "level"),
    [("", "ok"), ("XDP       1088      0      -1   NI\n", "ok"), ("XDP       1088      2      -1   NI\n", "warning")],
)
def test_an_open_xdp_socket_is_a_warning(line: str, level: str) -> None:
    assert xdp_finding(PROTOCOLS + line).level == level


def test_a_kernel_that_has_xdp_sockets_is_named_as_one_that_the_guard_does_not_see() -> None:
    assert "RestrictAddressFamilies=" in xdp_finding(PROTOCOLS + "XDP 1088 0 -1 NI\n").detail


LINKS = [
    {"ifname": "eth0", "link_type": "ether"},
    {"ifname": "eth1", "link_type": "ether", "master": "br0"},
    {"ifname": "eth2", "link_type": "ether", "master": "br0"},
    {"ifname": "br0", "link_type": "ether", "linkinfo": {"info_kind": "bridge"}},
    {"ifname": "eth0.7", "link": "eth0", "link_type": "ether", "linkinfo": {"info_kind": "vlan"}},
    {"ifname": "ppp0", "link_type": "ppp"},
    {"ifname": "veth0", "link_index": 3, "link_type": "ether", "linkinfo": {"info_kind": "veth"}},
]


@pytest.mark.parametrize(
    ("uplink", "said"),
    [
        ("br0", "`br0` is a bridge over `eth1`, `eth2`;"),
        ("eth0.7", "`eth0.7` is a vlan over `eth0`;"),
        ("ppp0", "`ppp0` is a ppp;"),
    ],
)
def test_an_uplink_above_other_devices_is_a_warning(uplink: str, said: str) -> None:
    (found,) = stacked_findings(LINKS, ["eth0", uplink])

    assert (found.level, found.detail.startswith(said)) == ("warning", True)


@pytest.mark.parametrize("uplink", ["eth0", "veth0", "missing"])
def test_an_uplink_of_its_own_is_in_order(uplink: str) -> None:
    assert stacked_findings(LINKS, [uplink]) == [Finding("stacked uplinks", "ok", "none")]


@pytest.mark.parametrize(
    ("mode", "level"),
    [(0o600, "ok"), (0o400, "ok"), (0o640, "warning"), (0o660, "warning"), (0o644, "problem"), (0o602, "problem")],
)
def test_files_with_keys_belong_to_their_owner(mode: int, level: str) -> None:
    assert [found.level for found in file_findings({"/etc/pointsman/wg.conf": mode})] == [level]


def test_every_open_file_is_named() -> None:
    found = file_findings({"/b": 0o644, "/c": 0o600, "/a": 0o640})

    assert [one.detail.partition(" is")[0] for one in found] == ["`/a`", "`/b`"]


def test_more_userspace_tunnels_than_the_kernel_lets_watch_a_file_are_a_warning() -> None:
    assert [inotify_finding(128, daemons).level for daemons in (128, 129)] == ["ok", "warning"]


def test_a_file_that_is_not_there_is_a_problem() -> None:
    found = file_findings({"/a": None, "/b": 0o600})

    assert [(one.level, one.detail) for one in found] == [
        ("problem", "there is no file `/a`, which the node file names")
    ]


def test_without_files_there_is_nothing_to_close() -> None:
    assert file_findings({}) == [Finding("key files", "ok", "none")]


def test_what_a_tunnel_leaves_out_is_a_warning_with_its_place() -> None:
    note = Problem(Place("a.conf", 7, 1), "wg-allowed", "`AllowedIPs` of tunnel `a` leave out `x`", "dropped")

    assert carried_findings([note]) == [
        Finding("AllowedIPs", "warning", "a.conf:7:1: `AllowedIPs` of tunnel `a` leave out `x`; dropped")
    ]
    assert [one.level for one in carried_findings([])] == ["ok"]
