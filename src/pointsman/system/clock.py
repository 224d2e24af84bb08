"""The clock that no one sets, and what tells one boot from another."""

import time
from pathlib import Path


def boot_time() -> float:
    """Return seconds since boot: a clock that no one sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Return what tells this boot from all others: marks and times of another one mean nothing now."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
