import json
from pathlib import Path

import pytest

from pointsman.gateway import store
from pointsman.gateway.grant import State
from pointsman.gateway.request import wireguard
from pointsman.model.fault import Fault
from pointsman.model.profile import Qos
from tests.unit.gateway.samples import asked, granted, key

STATE = granted(
    asked("a", number=1, bandwidth=8_000, ttl=60),
    wireguard("", "office", key(2), key(3), None, Qos.BULK, None),
)


def test_what_was_kept_is_recalled_with_the_time_that_is_left(tmp_path: Path) -> None:
    store.keep(tmp_path / "grants", STATE)

    assert store.recall(tmp_path / "grants", now=30.0) == STATE
    assert (tmp_path / "grants").stat().st_mode & 0o777 == 0o600


def test_after_a_reboot_what_expires_has_its_whole_time_once_more(tmp_path: Path) -> None:
    store.keep(tmp_path / "grants", STATE)
    kept = json.loads((tmp_path / "grants").read_text())
    (tmp_path / "grants").write_text(json.dumps({**kept, "boot": "another"}))

    found = store.recall(tmp_path / "grants", now=5.0)
    assert [grant.expires for grant in found.grants.values()] == [65.0, None]


def test_nothing_kept_is_an_empty_state_and_damage_is_told(tmp_path: Path) -> None:
    assert store.recall(tmp_path / "none", 0) == State()
    (tmp_path / "half").write_text('{"boot": ')
    with pytest.raises(Fault, match="damaged"):
        store.recall(tmp_path / "half", 0)


def test_no_preshared_key_shows_in_a_repr() -> None:
    assert key(3) not in repr(STATE)
