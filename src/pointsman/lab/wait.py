"""Wait for a condition, with a bound."""

import time
from collections.abc import Callable
from pathlib import Path

from pointsman.model.fault import Fault


def until(
    holds: Callable[[], bool], what: str, log: Path | None = None, within: float = 10, every: float = 0.02
) -> None:
    """Return as soon as `holds()` does, asked `every` so many seconds.

    After `within` seconds it is a `Fault` with the end of the log.
    """
    limit = time.monotonic() + within
    while not holds():
        if time.monotonic() > limit:
            tail = log.read_text(errors="replace")[-800:].strip() if log and log.exists() else ""
            raise Fault("lab-wait", f"wait until {what}", f"not within {within:g} s" + (f"; {tail}" if tail else ""))
        time.sleep(every)
