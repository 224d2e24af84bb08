"""What is kept of tunnels that gateways were asked for."""

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from pointsman.model.fault import Fault
from pointsman.model.gateway import Given, Holder, Made
from pointsman.model.profile import Level
from pointsman.model.tunnel import Endpoint, Kind
from pointsman.node.made import Kept, Unwritten, discard_damaged, forget, keep, names, recall
from pointsman.system.log import Log

HELD = Kept(
    Made("gw-1", "gw", Kind.WIREGUARD, Level.STRONG, (("to", "us"),), Holder("vault", "ada", "claim sub"), 1.5, 2.5),
    "not-a-real-key",
    Given(("10.0.0.2", "fd00::2"), Endpoint("192.0.2.21", 51820, "udp"), 1420, ("10.0.0.1",), 120.0, "far-key"),
    "not-a-real-key-either",
)
PLANNED = Kept(Made("gw-2", "gw", Kind.OPENVPN, Level.NONE, (), None, 3.0, 3.0, leaving=9.0), "not-a-real-key", None)


def test_what_is_kept_comes_back_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    for kept in (PLANNED, HELD):
        keep(folder, kept)

    assert recall(folder) == (HELD, PLANNED)
    assert stat.S_IMODE((folder / "gw-1.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_no_key_shows_in_a_repr() -> None:
    assert "not-a-real" not in repr(HELD)


def test_what_is_forgotten_is_gone_also_twice(tmp_path: Path) -> None:
    keep(tmp_path, HELD)
    forget(tmp_path, "gw-1")
    forget(tmp_path, "gw-1")

    assert recall(tmp_path) == ()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "gw-1.json").write_text("{")

    with pytest.raises(Fault, match=r"gw-1\.json"):
        recall(tmp_path)


def test_what_is_damaged_can_be_discarded_and_is_named(tmp_path: Path) -> None:
    keep(tmp_path, HELD)
    (tmp_path / "gw-2.json").write_text("{")
    assert names(tmp_path) == ("gw-1", "gw-2")

    [fault] = discard_damaged(tmp_path)

    assert "gw-2.json" in str(fault)
    assert recall(tmp_path) == (HELD,)


def test_a_key_shows_in_no_text() -> None:
    assert "not-a-real-key" not in repr(HELD)


def test_a_draft_that_a_killed_agent_left_goes_with_its_key(tmp_path: Path) -> None:
    (tmp_path / "gw-1.json.new").write_text("half a file with a key")

    assert recall(tmp_path) == ()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_does_not_say_what_its_tunnel_was_made_as_is_trusted_with_nothing(tmp_path: Path) -> None:
    openvpn = replace(HELD, key="-----BEGIN PRIVATE KEY-----", made=replace(HELD.made, name="gw-3"))
    for kept in (HELD, openvpn):
        keep(tmp_path, kept)
        path = tmp_path / f"{kept.made.name}.json"
        content = json.loads(path.read_text())
        for name in ("kind", "level", "labels"):
            del content["made"][name]
        del content["made"]["holder"]["source"]
        path.write_text(json.dumps(content))

    assert [(one.made.kind, one.made.level, one.made.labels, one.made.holder) for one in recall(tmp_path)] == [
        (kind, Level.NONE, (), Holder("vault", "ada", "")) for kind in (Kind.WIREGUARD, Kind.OPENVPN)
    ]


def test_a_file_that_cannot_be_written_is_a_fault_and_leaves_no_key(tmp_path: Path) -> None:
    (tmp_path / "gw-1.json").mkdir()
    (tmp_path / "file").touch()

    for folder in (tmp_path, tmp_path / "file" / "made"):
        with pytest.raises(Fault):
            keep(folder, HELD)
    assert {path.name for path in tmp_path.iterdir()} == {"gw-1.json", "file"}


def test_what_could_not_be_written_is_written_later_unless_it_is_gone(tmp_path: Path) -> None:
    unwritten = Unwritten(tmp_path, Log())
    for kept in (HELD, PLANNED):
        (tmp_path / f"{kept.made.name}.json").mkdir()
        unwritten.add(kept)
    for kept in (HELD, PLANNED):
        (tmp_path / f"{kept.made.name}.json").rmdir()
    unwritten.drop("gw-2")
    unwritten.write()

    assert recall(tmp_path) == (HELD,)
