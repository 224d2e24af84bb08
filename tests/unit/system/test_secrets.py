"""Files of secrets: what will do, and what is told of what will not."""

import base64
from pathlib import Path

import pytest

from pointsman.model.fault import Fault
from pointsman.system.secrets import read_secret

SECRET = bytes(range(32))
CANARY = "Y2FuYXJ5"


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / "secret"
    file.touch(mode)
    file.write_text(text)
    file.chmod(mode)
    return file


def test_a_secret_is_read_from_a_private_file(tmp_path: Path) -> None:
    assert read_secret(written(tmp_path, base64.b64encode(SECRET).decode() + "\n")) == SECRET


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        (base64.b64encode(SECRET).decode(), 0o640, "others can read it"),
        (CANARY * 3, 0o600, "it is shorter than 32 bytes"),
        (f"{CANARY}!", 0o600, "it is no base64"),
        ("", 0o600, "it is shorter"),
    ],
)
def test_what_will_not_do_is_told_and_not_repeated(tmp_path: Path, text: str, mode: int, why: str) -> None:
    with pytest.raises(Fault, match=why) as fault:
        read_secret(written(tmp_path, text, mode))

    assert CANARY not in str(fault.value)


def test_a_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="No such file"):
        read_secret(tmp_path / "none")
