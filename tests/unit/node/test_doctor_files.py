"""What `doctor` says of the files that a node file names."""

import json
from pathlib import Path

import pytest

from pointsman.model.problem import Place, Problem
from pointsman.node import coverage
from pointsman.node.config import read_node
from pointsman.node.doctor_files import carried, modes
from pointsman.system.log import Log
from tests.unit.node.test_files import NODE, POLICY, world
from tests.unit.tunnels.samples import WIREGUARD

HERE = NODE.replace("kind: Node", "kind: Node\nstate: state")


def looked(folder: Path, policy: str = POLICY, a: str = WIREGUARD) -> list[tuple[str, str]]:
    found = carried(read_node(world(folder, policy, HERE, a)))
    return [(one.level, one.detail.replace(f"{folder}/", "").partition(";")[0]) for one in found]


def test_a_tunnel_that_leaves_out_a_destination_is_a_warning(tmp_path: Path) -> None:
    told = "a.conf:7:1: `AllowedIPs` of tunnel `a` leave out `x` (203.0.113.7/32)"

    assert looked(tmp_path, a=WIREGUARD.replace("0.0.0.0/0", "192.0.2.0/24")) == [("warning", told)]
    assert looked(tmp_path)[0][0] == "ok"


def test_where_a_file_is_wrong_it_is_said_that_nothing_was_looked_at(tmp_path: Path) -> None:
    assert looked(tmp_path, policy="") == [("warning", "not looked at: one of the node's files is wrong")]
    assert looked(tmp_path, a="") == [("warning", "not looked at: one of the node's files is wrong")]


def test_files_with_keys_are_looked_at_though_one_is_wrong(tmp_path: Path) -> None:
    config = world(tmp_path, node=HERE, a="")
    (tmp_path / "a.conf").chmod(0o640)
    (tmp_path / "b.conf").chmod(0o600)

    assert modes(read_node(config)) == {str(tmp_path / "a.conf"): 0o640, str(tmp_path / "b.conf"): 0o600}


def test_the_log_says_what_a_tunnel_does_not_take(capsys: pytest.CaptureFixture[str]) -> None:
    coverage.tell(Log(), [Problem(Place("a.conf", 7, 1), "wg-allowed", "leave out `x`", "dropped")])

    line = json.loads(capsys.readouterr().err)
    assert (line["where"], line["what"], line["why"]) == ("a.conf:7:1", "leave out `x`", "dropped")
