"""What is wrong with the files for gateways is told once, with its place and all gateways that need it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from pointsman.model.problem import Invalid, Place, Problem
from pointsman.node.config import Node, read_node
from pointsman.node.files import named
from pointsman.node.findings import Finding
from pointsman.node.identity import gateway_findings, judge
from pointsman.system.certificates import authority, issue

NOW = datetime.now(UTC)
CA = authority("gateways", 365)
OWN = issue(CA, "n", server=False, days=90, alternatives=["urn:pointsman:node:shop"])
GATEWAY = {"kind": "wireguard", "level": "strong", "ca": "ca.crt", "certificate": "node.crt", "key": "node.key"}
DOCUMENT = {
    "apiVersion": "pointsman/v1",
    "kind": "Node",
    "name": "shop",
    "policy": "policy.yaml",
    "users": {"proxy": 64001, "tunnels": 64002},
    "uplinks": ["eth0"],
    "tunnels": [{"name": "direct", "kind": "direct", "level": "none", "device": "eth0"}],
    "gateways": [{"name": "a", "address": "192.0.2.21", **GATEWAY}, {"name": "b", "address": "192.0.2.22", **GATEWAY}],
}

POLICY = """
apiVersion: pointsman/v1
kind: Policy
metadata: {name: test}
profiles: [{name: plain, encryption: none}]
rules: [{name: all, when: 'request.method == "GET"', profile: plain}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a node file and the files by which it asks two gateways."""
    texts = {"ca.crt": CA.certificate, "node.crt": OWN.certificate, "node.key": OWN.key, "policy.yaml": POLICY}
    for name, text in {**texts, "node.yaml": yaml.safe_dump(DOCUMENT, sort_keys=False)}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    return tmp_path


def node(folder: Path) -> Node:
    return read_node(folder / "node.yaml")


def at(folder: Path, field: str) -> Place:
    """Return where the node file first names a file in this field."""
    lines = (folder / "node.yaml").read_text().splitlines()
    number = next(i for i, line in enumerate(lines, 1) if line.strip().startswith(f"{field}:"))
    return Place(str(folder / "node.yaml"), number, lines[number - 1].index(":") + 3)


def test_files_that_are_in_order_are_good_until_a_day(folder: Path) -> None:
    until = NOW + timedelta(days=90)

    assert judge(node(folder), NOW) == ()
    assert gateway_findings(node(folder), NOW) == [
        Finding("gateway files", "ok", f"this node's certificate is good until {until:%Y-%m-%d}")
    ]


def test_a_node_without_gateways_has_no_files_to_judge(folder: Path) -> None:
    (folder / "node.yaml").write_text(yaml.safe_dump({**DOCUMENT, "gateways": []}))

    assert gateway_findings(node(folder), NOW) == []


def test_a_file_of_two_gateways_is_told_once_with_both(folder: Path) -> None:
    (folder / "node.key").unlink()
    what = f"`{folder / 'node.key'}` cannot be read: No such file or directory (for gateway `a`, `b`)"

    assert [one.problem for one in judge(node(folder), NOW)] == [Problem(at(folder, "key"), "unreadable", what)]
    assert gateway_findings(node(folder), NOW) == [Finding("gateway files", "problem", what)]
    with pytest.raises(Invalid) as invalid:
        named(node(folder), folder / "kept.json")
    assert invalid.value.problems == (Problem(at(folder, "key"), "unreadable", what),)


def test_what_is_unusable_keeps_the_agent_from_starting_with_all_else_that_does(folder: Path) -> None:
    tunnels = [{"name": "wg", "kind": "wireguard", "level": "strong", "file": "wg.conf"}]
    (folder / "node.yaml").write_text(yaml.safe_dump({**DOCUMENT, "tunnels": tunnels}, sort_keys=False))
    (folder / "ca.crt").write_text("none")
    with pytest.raises(Invalid) as invalid:
        named(node(folder), folder / "kept.json")

    assert sorted(problem.label for problem in invalid.value.problems) == ["no-certificate", "pool-file"]
    assert at(folder, "ca") in [problem.place for problem in invalid.value.problems]


def test_what_the_gateway_will_not_have_is_told_and_does_not_keep_the_agent_from_starting(folder: Path) -> None:
    server = issue(CA, "n", server=True, days=90)
    (folder / "node.crt").write_text(server.certificate)
    (folder / "node.key").write_text(server.key)
    pool, _, told = named(node(folder), folder / "kept.json")

    assert [supply.entry.name for supply in pool.supplies] == ["direct"]
    assert [problem.label for problem in told] == ["wrong-usage", "not-a-node"]
    assert [one.level for one in gateway_findings(node(folder), NOW)] == ["problem", "problem"]


def test_a_certificate_that_ends_soon_is_a_warning(folder: Path) -> None:
    [found] = gateway_findings(node(folder), NOW + timedelta(days=80))

    assert (found.level, "ends on" in found.detail) == ("warning", True)


@pytest.mark.parametrize(("names", "what"), [([], "names no node"), (["a", "b"], "names more than one node")])
def test_a_node_has_exactly_one_name(folder: Path, names: list[str], what: str) -> None:
    named = issue(CA, "n", server=False, days=90, alternatives=[f"urn:pointsman:node:{name}" for name in names])
    (folder / "node.crt").write_text(named.certificate)
    (folder / "node.key").write_text(named.key)
    [told] = judge(node(folder), NOW)

    assert (told.flaw.label, what in told.flaw.what) == ("not-a-node", True)
    assert "URI:urn:pointsman:node:shop" in told.flaw.hint
