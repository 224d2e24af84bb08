"""What a killed run leaves behind is found and taken away; what a live run has stands."""

import subprocess
import sys
from pathlib import Path

from pointsman.lab import life, names, spaces

# A run of its own: makes a namespace, starts something in it that outlives the run, says its name, waits.
_RUN = """
import subprocess, sys
from pointsman.lab import spaces
with spaces.space("host") as name:
    inside = ["nsenter", f"--net=/run/netns/{name}", "sleep", "600"]
    print(name, subprocess.Popen(inside, start_new_session=True).pid, flush=True)
    sys.stdin.read()
"""


def test_a_namespace_is_swept_after_its_run_was_killed_and_not_before(monkeypatch) -> None:
    monkeypatch.delenv("POINTSMAN_RUN", raising=False)
    with subprocess.Popen(
        [sys.executable, "-c", _RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        name, child = run.stdout.readline().split()
        life.sweep(None)
        assert name in spaces.standing()
        run.kill()
        run.wait()

    assert name in spaces.standing()
    life.sweep(None)

    assert name not in spaces.standing()
    assert not Path(f"/proc/{child}").exists() or Path(f"/proc/{child}/stat").read_text().split()[2] == "Z"


def test_a_run_takes_down_what_is_its_own(monkeypatch) -> None:
    theirs = f"{names.run_name()}-x-theirs"
    monkeypatch.setenv("POINTSMAN_RUN", theirs)
    with spaces.space("host") as name:
        life.sweep(f"{theirs}s")
        assert name in spaces.standing()
        life.sweep(theirs)
        assert name not in spaces.standing()
