"""Files that are replaced as a whole."""

from pathlib import Path

import pytest

from pointsman.model.fault import Fault
from pointsman.system.files import replace_file


def test_a_file_is_replaced_as_a_whole_and_open_to_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "kept"
    for content in (b"old and longer", b"new"):
        replace_file(file, content)

    assert (file.read_bytes(), file.stat().st_mode & 0o777, list(tmp_path.iterdir())) == (b"new", 0o600, [file])


def test_a_file_that_cannot_be_written_is_a_fault_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(Fault, match=r"write `.*/gone/kept`: No such file"):
        replace_file(tmp_path / "gone" / "kept", b"new")
