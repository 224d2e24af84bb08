"""All files of a node at once: nothing that is wrong with one hides what is wrong with another, none is told twice."""

from pathlib import Path

import pytest

from pointsman.model.problem import Invalid
from pointsman.node import applied, files
from pointsman.policy.load import Judged, judge
from tests.unit.tunnels.samples import WIREGUARD

POLICY = """apiVersion: pointsman/v1
kind: Policy
metadata: {name: test}
destinations: [{name: x, addresses: [203.0.113.7]}]
profiles: [{name: vault, encryption: strong}]
rules:
  - {name: one, when: 'destination.name == "x"', profile: vault}
"""
NODE = """apiVersion: pointsman/v1
kind: Node
policy: policy.yaml
users: {proxy: 64001, tunnels: 64002}
uplinks: [eth0]
tunnels:
  - name: a
    kind: wireguard
    level: strong
    file: a.conf
  - {name: b, kind: wireguard, level: strong, file: b.conf}
  - {name: d, kind: direct, level: none, device: eth0}
"""


def world(folder: Path, policy: str = POLICY, node: str = NODE, a: str = WIREGUARD, b: str = WIREGUARD) -> Path:
    for name, text in (("policy.yaml", policy), ("node.yaml", node), ("a.conf", a), ("b.conf", b)):
        (folder / name).write_text(text)
    return folder / "node.yaml"


def judged(folder: Path) -> Judged:
    return judge((folder / "policy.yaml").read_bytes(), str(folder / "policy.yaml"), lambda name: b"")


def told(found: Invalid, folder: Path) -> list[str]:
    return [str(problem).replace(f"{folder}/", "") for problem in found.problems]


def refused(folder: Path, config: Path) -> list[str]:
    with pytest.raises(Invalid) as caught:
        files.check(judged(folder), config)
    return told(caught.value, folder)


def labels(found: list[str]) -> list[str]:
    return [one.partition(": ")[0] for one in found]


def test_files_with_nothing_wrong_are_read(tmp_path: Path) -> None:
    config = world(tmp_path)
    node, pool, loaded = files.check(judged(tmp_path), config)

    assert [supply.entry.name for supply in pool.supplies] == ["a", "b", "d"]
    assert (node.policy, loaded.policy.name) == (tmp_path / "policy.yaml", "test")
    assert files.notes(node, pool, loaded.policy) == ()


def test_what_is_wrong_with_any_file_is_told_with_what_is_wrong_with_the_others(tmp_path: Path) -> None:
    config = world(
        tmp_path,
        policy=POLICY.replace("profile: vault", "profile: valt").replace("strong", "quantum"),
        node=NODE.replace("[eth0]", "[eth0]\nresolvers: [here]"),
        a=WIREGUARD.replace("Address", "Adress"),
        b=WIREGUARD + "PostUp = x\n",
    )

    assert labels(refused(tmp_path, config)) == [
        "a.conf:1:1",
        "a.conf:3:1",
        "b.conf:9:1",
        "node.yaml:6:13",
        "policy.yaml:5:19",
        "policy.yaml:7:59",
    ]


def test_a_node_file_of_the_wrong_form_hides_neither_its_tunnels_nor_the_policy(tmp_path: Path) -> None:
    config = world(
        tmp_path,
        policy=POLICY.replace("profile: vault", "profile: valt"),
        node=NODE.replace("uplinks", "dhpc: true\nuplinks").replace("name: d, kind: direct", "name: a, kind: direct"),
        b="",
    )

    assert refused(tmp_path, config) == [
        "b.conf: `Address` is missing; the gateway's operator tells which address is yours",
        "b.conf: `PrivateKey` is missing",
        "b.conf: 0 `[Interface]` sections; a wg-quick file has exactly one",
        "b.conf: no `[Peer]` section; name the gateway in one",
        "node.yaml:5:1: unknown field `dhpc`; did you mean `dhcp`?",
        "node.yaml:13:12: tunnel `a` is declared twice",
        "policy.yaml:7:59: there is no profile `valt`; did you mean `vault`?",
    ]


def test_a_node_file_that_cannot_be_read_does_not_hide_the_policy(tmp_path: Path) -> None:
    world(tmp_path, policy=POLICY.replace("profile: vault", "profile: valt"))

    assert labels(refused(tmp_path, tmp_path / "none.yaml")) == ["none.yaml", "policy.yaml:7:59"]


def test_a_problem_of_a_tunnel_has_the_place_of_its_entry(tmp_path: Path) -> None:
    config = world(tmp_path, node=NODE.replace("strong", "quantum").replace("b.conf", "none.conf"))

    assert refused(tmp_path, config) == [
        "node.yaml:10:11: tunnel `a` is declared `quantum` but gives `strong`; "
        "it lacks a `PresharedKey` for every peer",
        "node.yaml:11:54: tunnel `b`: read `none.conf`: No such file or directory",
    ]


def test_a_file_that_two_tunnels_share_is_told_once(tmp_path: Path) -> None:
    config = world(tmp_path, node=NODE.replace("b.conf", "a.conf"), a=WIREGUARD + "PostUp = x\n")

    assert labels(refused(tmp_path, config)) == ["a.conf:9:1"]


def test_a_tunnel_that_does_not_say_what_it_is_made_from_is_told_once(tmp_path: Path) -> None:
    config = world(tmp_path, node=NODE.replace(", file: b.conf", "").replace(", device: eth0", ", file: d"))

    assert labels(refused(tmp_path, config)) == ["node.yaml:11:5", "node.yaml:12:5", "node.yaml:12:48"]


def test_notes_are_lines_without_effect_and_what_tunnels_leave_out(tmp_path: Path) -> None:
    partial = WIREGUARD.replace("Address", "DNS = 192.0.2.53\nAddress").replace("0.0.0.0/0, ::/0", "192.0.2.0/24")
    config = world(tmp_path, a=partial)

    node, pool, loaded = files.check(judged(tmp_path), config)
    found = files.notes(node, pool, loaded.policy)

    assert [(note.label, note.place.line) for note in found] == [("wg-ignored", 3), ("wg-allowed", 8)]


def test_an_agent_that_starts_is_told_all_of_it_too(tmp_path: Path) -> None:
    node = NODE.replace("[eth0]", "[eth0]\nresolvers: [here]").replace("64001", "no-such-user")
    config = world(tmp_path, POLICY.replace("profile: vault", "profile: valt"), node, a="")

    with pytest.raises(Invalid) as caught:
        files.own(config)

    assert list(dict.fromkeys(labels(told(caught.value, tmp_path)))) == [
        *("a.conf", "node.yaml:4:16", "node.yaml:6:13", "policy.yaml:7:59"),
    ]


def test_tunnels_and_policy_of_a_checked_node_are_told_together(tmp_path: Path) -> None:
    config = world(tmp_path, POLICY.replace("profile: vault", "profile: valt"), b=WIREGUARD + "PostUp = x\n")

    with pytest.raises(Invalid) as caught:
        files.named(files.own(config), tmp_path / "kept.json")

    assert labels(told(caught.value, tmp_path)) == ["b.conf:9:1", "policy.yaml:7:59"]


def test_a_policy_that_was_applied_before_goes_on_and_is_no_problem(tmp_path: Path) -> None:
    config = world(tmp_path)
    _, (source, _, _), _ = files.named(files.own(config), tmp_path / "kept.json")
    applied.keep(tmp_path / "kept.json", source)
    world(tmp_path, policy="")

    _, (_, policy, warning), _ = files.named(files.own(config), tmp_path / "kept.json")

    assert (policy.name, "goes on" in warning) == ("test", True)
