import re
from pathlib import Path

import pytest

from pointsman.node.paths import Paths, prepare

UNITS = Path(__file__).parents[3] / "packaging" / "systemd"


@pytest.mark.parametrize("unit", ["pointsman", "pointsman-gateway"])
def test_a_unit_that_starts_leaves_the_folders_as_they_are_made(tmp_path: Path, unit: str) -> None:
    paths = Paths(tmp_path / "run", tmp_path / "state")
    prepare(paths)

    said = dict(re.findall(r"^(\w+)DirectoryMode=(\d+)$", (UNITS / f"{unit}.service").read_text(), re.MULTILINE))
    assert {name: int(mode, 8) for name, mode in said.items()} == {
        "Runtime": paths.runtime.stat().st_mode & 0o777,
        "State": paths.state.stat().st_mode & 0o777,
    }
