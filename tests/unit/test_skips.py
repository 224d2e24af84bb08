import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"


CALLED = "import pytest\n\ndef test_x():\n    pytest.skip('no root here')\n"
WHOLE = "import pytest\n\npytest.skip('no tool here', allow_module_level=True)\n"
MARKED = "import pytest\n\n@pytest.mark.skip\ndef test_x(): ...\n"
EXPECTED = "import pytest\n\n@pytest.mark.xfail\ndef test_x():\n    assert False\n"


@pytest.mark.parametrize(
    ("folder", "body", "code"),
    [
        ("lab", CALLED, 1),
        ("lab", WHOLE, 2),
        ("lab", MARKED, 1),
        ("lab", EXPECTED, 1),
        ("contract", CALLED, 1),
        ("unit", CALLED, 0),
    ],
)
def test_a_skipped_lab_or_contract_test_fails_the_run(tmp_path: Path, folder: str, body: str, code: int) -> None:
    (tmp_path / folder).mkdir()
    shutil.copy(CONFTEST, tmp_path / "conftest.py")
    (tmp_path / folder / "test_x.py").write_text(body)
    (tmp_path / folder / "test_y.py").write_text("def test_y(): ...\n")

    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, check=False)

    assert done.returncode == code, done.stdout
