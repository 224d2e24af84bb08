"""Network namespaces that are no lab's: made for a test, and named after the run that they belong to.

The name carries the process id of the run, so that what a killed run left behind is found, and a live run's is left
alone.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from pointsman.lab import names
from pointsman.lab.exec import demand_here, end_processes_in
from pointsman.model.fault import Fault

_PREFIX = "pmt-"
_numbers = count()


@contextmanager
def space(role: str) -> Iterator[str]:
    """Make a namespace for as long as the block runs; whatever still runs in it then is ended."""
    name = f"{_PREFIX}{names.run_name()}-{os.getpid()}-{next(_numbers)}-{role}"
    demand_here(["ip", "netns", "add", name], f"make the namespace {name}")
    try:
        yield name
    finally:
        remove(name)


def remove(name: str) -> None:
    """End what runs in a namespace, and remove it. Nothing to remove is fine."""
    path = names.NAMESPACES / name
    if path.exists():
        end_processes_in(path)
        try:
            demand_here(["ip", "netns", "delete", name], f"remove the namespace {name}")
        except Fault:
            if path.exists():  # otherwise another sweep was there first
                raise


def standing() -> tuple[str, ...]:
    """Return all such namespaces, of whatever run."""
    if not names.NAMESPACES.is_dir():
        return ()
    return tuple(sorted(path.name for path in names.NAMESPACES.iterdir() if path.name.startswith(_PREFIX)))


def swept(name: str, prefix: str | None) -> bool:
    """Say whether to take down what has this name: the run's if `prefix` is one, otherwise any run's that has died.

    Names of labs and of namespaces both begin with the run, a namespace's after what all of them begin with.
    """
    name = name.removeprefix(_PREFIX)
    if prefix is not None:
        return name == prefix or name.startswith(f"{prefix}-")
    run = re.match(r"r(\d+)(-|$)", name)
    return run is not None and not Path(f"/proc/{run[1]}").exists()
