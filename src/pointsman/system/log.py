"""The log of agent and gateway: one line of JSON an event, a fixed sentence and fields, on standard error."""

import json
import sys
import time
from collections.abc import Callable
from threading import Lock

from pointsman.model.fault import Fault

# A fault that stands is told again after so many seconds
AGAIN = 60.0
_REMEMBERED = 256


class Log:
    """Writes events, from any thread. A fault that stands is told once a minute. `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[str, float] = {}
        self._lock = Lock()

    def event(self, what: str, /, **fields: object) -> None:
        """Write one event."""
        self._write("info", what, fields)

    def fault(self, fault: Fault) -> None:
        """Write a fault of the host, unless it was told a moment ago."""
        text, now = str(fault), self._clock()
        with self._lock:
            if now < self._told.get(text, now - AGAIN) + AGAIN:
                return
            self._told.pop(text, None)
            self._told[text] = now
            if len(self._told) > _REMEMBERED:
                del self._told[next(iter(self._told))]
        self._write("error", text, {"label": fault.label})

    def _write(self, level: str, what: str, fields: dict[str, object]) -> None:
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = json.dumps({"time": when, "level": level, "event": what, **fields}, default=str)
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
