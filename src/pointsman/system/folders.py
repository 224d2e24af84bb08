"""The two folders of an agent or a gateway: all that either keeps is in them."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Folders:
    """`state` outlives the boot, `runtime` need not."""

    runtime: Path
    state: Path

    @property
    def control(self) -> Path:
        """Where the one that runs can be asked."""
        return self.runtime / "control.sock"


def prepare(folders: Folders, *passed: Path) -> None:
    """Make the folders. Others may pass through `runtime` and `passed`, to their own folders in it, but not look."""
    for folder, mode in ((folders.runtime, 0o711), (folders.state, 0o700), *((each, 0o711) for each in passed)):
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
        folder.chmod(mode)
