"""Edge to the kernel's counters of network devices."""

from pathlib import Path

from pointsman.model.fault import Fault

_COUNTERS = Path("/proc/thread-self/net/dev")
_SENT = 8  # the column of bytes sent, after the device's name (proc(5))


def sent_bytes() -> dict[str, int]:
    """Return how many bytes each device of this network namespace has sent."""
    try:
        lines = _COUNTERS.read_text().splitlines()[2:]
        return {name.strip(): int(told.split()[_SENT]) for name, _, told in (line.partition(":") for line in lines)}
    except (OSError, ValueError, IndexError) as error:
        raise Fault("devices", f"read `{_COUNTERS}`", str(error)) from error
