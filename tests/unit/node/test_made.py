"""What is kept of tunnels that gateways were asked for."""

import stat
from pathlib import Path

import pytest

from pointsman.model.fault import Fault
from pointsman.model.gateway import Given, Holder, Made
from pointsman.model.tunnel import Endpoint
from pointsman.node.made import Kept, discard_damaged, forget, keep, names, recall

HELD = Kept(
    Made("gw-1", "gw", Holder("vault", "ada"), 1.5, 2.5),
    "not-a-real-key",
    Given(("10.0.0.2", "fd00::2"), Endpoint("192.0.2.21", 51820, "udp"), 1420, ("10.0.0.1",), 120.0, "far-key"),
    "not-a-real-key-either",
)
PLANNED = Kept(Made("gw-2", "gw", None, 3.0, 3.0, leaving=9.0), "not-a-real-key", None)


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
