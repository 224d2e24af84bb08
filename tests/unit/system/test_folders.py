import stat
from pathlib import Path

from pointsman.system.folders import Folders, prepare


def test_others_pass_through_what_runs_and_see_nothing_of_what_is_kept(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "run", tmp_path / "state")
    folders.runtime.mkdir(mode=0o755)
    within = folders.runtime / "tunnels"

    prepare(folders, within)

    made = (folders.runtime, folders.state, within)
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in made] == [0o711, 0o700, 0o711]
