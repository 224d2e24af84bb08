"""The log of agent and gateway: one line of JSON an event, a fixed sentence and fields, on standard error."""

import json
import sys
import time

from pointsman.model.fault import Fault


class Log:
    """Writes events. The same fault is told once, until another event comes."""

    def __init__(self) -> None:
        self._last_fault = ""

    def event(self, what: str, /, **fields: object) -> None:
        """Write one event."""
        self._last_fault = ""
        self._write("info", what, fields)

    def fault(self, fault: Fault) -> None:
        """Write a fault of the host, if it is not the one just written."""
        if str(fault) != self._last_fault:
            self._write("error", str(fault), {"label": fault.label})
            self._last_fault = str(fault)

    def _write(self, level: str, what: str, fields: dict[str, object]) -> None:
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = json.dumps({"time": when, "level": level, "event": what, **fields}, default=str)
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
