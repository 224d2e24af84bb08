import math
from pathlib import Path

import pytest

from pointsman.model.entry import Entry, Mode
from pointsman.model.fault import Fault
from pointsman.model.problem import Invalid
from pointsman.model.tunnel import Lane, Lease
from pointsman.node.memory import Memory, keep, numbered, recall


def test_what_is_kept_is_recalled(tmp_path: Path) -> None:
    memory = Memory(
        lanes={"vault@a": 2},
        tables={"a": 7100},
        entries=(Entry(20000, Mode.TCP, None, ""), Entry(20201, Mode.AUTO, 1000, "vault@a")),
        leases=(Lease("a", "vault"),),
        draining={
            Lane("vault", "b", 3 << 20, "pmb", ("10.72.0.2", "fd72::2")): 99.5,
            Lane("plain", "d", 4 << 20, "eth0", ()): math.inf,
        },
        observe=True,
        confirm_by=12.5,
        glass_until=99.0,
        glass_reason="gateway outage",
    )
    keep(tmp_path / "memory.json", memory)

    assert recall(tmp_path / "memory.json") == memory
    assert (tmp_path / "memory.json").stat().st_mode & 0o777 == 0o600


def test_a_memory_from_before_lanes_were_kept_that_drain_is_read(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    keep(path, Memory(tables={"a": 7100}))
    path.write_text(path.read_text().replace('"draining": [],', ""))

    assert "draining" not in path.read_text()
    assert recall(path) == Memory(tables={"a": 7100})


def test_without_a_file_there_is_an_empty_memory(tmp_path: Path) -> None:
    assert recall(tmp_path / "memory.json") == Memory()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"lanes": {}}', '{"entries": [{"port": 1}]}'])
def test_a_damaged_memory_is_a_fault_and_never_an_empty_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "memory.json").write_text(text)

    with pytest.raises(Fault, match="damaged"):
        recall(tmp_path / "memory.json")


def test_numbers_are_kept_and_rise() -> None:
    first = numbered({}, ["a", "b"], (2, 9))
    second = numbered(first, ["b", "c"], (2, 9))

    assert first == {"a": 2, "b": 3}
    assert second == {"a": 2, "b": 3, "c": 4}


def test_numbers_come_round_when_the_span_is_used_up_and_keep_those_in_use() -> None:
    assert numbered({"a": 2, "b": 3}, ["b", "c"], (2, 3)) == {"b": 3, "c": 2}


def test_more_names_than_numbers_are_a_problem() -> None:
    with pytest.raises(Invalid, match="3 tunnels, or profiles on tunnels, are wanted, and there is room for 2"):
        numbered({}, ["a", "b", "c"], (2, 3))


def test_a_name_that_is_wanted_twice_has_one_number() -> None:
    assert numbered({}, ["a", "a", "b"], (2, 3)) == {"a": 2, "b": 3}


def test_what_another_boot_left_counts_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    keep(path, Memory(lanes={"a@b": 2}, glass_until=9e9))
    path.write_text(path.read_text().replace('"boot": "', '"boot": "x'))

    assert recall(path) == Memory()
