from pathlib import Path

import pytest

from pointsman.lab import names, spaces
from pointsman.lab.names import Lab
from pointsman.model.problem import Invalid


@pytest.mark.parametrize("name", ["", "-a", "A", "a/b", "../a", "a b", "a" * 21, "ä", "a\n"])
def test_what_could_leave_its_folder_or_break_a_namespace_name_cannot_name_a_lab(name: str) -> None:
    with pytest.raises(Invalid, match="cannot name a lab"):
        names.lab(name)


def test_namespaces_and_folder_carry_the_name_of_the_lab() -> None:
    lab = names.lab("try-1")

    assert (lab.namespace("gw-a"), lab.folder) == ("pm-try-1-gw-a", Path("/run/pointsman-lab/try-1"))


def test_a_lab_is_found_by_a_single_namespace_or_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netns").mkdir()
    for space in ("pm-one-origin", "pm-x-gw-a-gw-b", "someone-elses", "pm-odd"):
        (tmp_path / "netns" / space).touch()
    (tmp_path / "labs" / "two").mkdir(parents=True)
    monkeypatch.setattr(names, "NAMESPACES", tmp_path / "netns")
    monkeypatch.setattr(names, "ROOT", tmp_path / "labs")

    assert names.standing() == (Lab("one"), Lab("two"), Lab("x-gw-a"))


@pytest.mark.parametrize("name", [f"r{2**22 + 1}", f"r{2**22 + 1}-gw0-3", f"pmt-r{2**22 + 1}-77-0-far"])
def test_what_a_dead_run_made_is_swept(name: str) -> None:
    assert spaces.swept(name, None)


@pytest.mark.parametrize("name", ["r1-gw0-3", "pmt-r1-77-0-far", "try-1", "r1x", "pmt-mine"])
def test_what_a_live_run_made_or_somebody_by_hand_is_not_swept(name: str) -> None:
    assert not spaces.swept(name, None)


def test_a_run_is_told_from_one_whose_name_goes_on() -> None:
    assert [spaces.swept(name, "r12") for name in ("r12", "r12-a", "pmt-r12-7-0-x", "r123-a")] == [True] * 3 + [False]
