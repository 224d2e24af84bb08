from pathlib import Path

from pointsman.gateway.paths import Paths, clear_drafts
from pointsman.system.folders import prepare


def test_drafts_that_a_killed_gateway_left_go_and_nothing_else_does(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "run", tmp_path / "state")
    prepare(paths)
    kept = [paths.grants, paths.wireguard_key, paths.authority, paths.devices, paths.sysctls]
    for path in kept:
        path.touch()
        path.with_name(path.name + ".new").touch()

    clear_drafts(paths)

    assert sorted(tmp_path.glob("*/*")) == sorted(kept)
