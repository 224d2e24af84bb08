"""A process on the instance that opens connections and sends exact bytes: one JSON line asks, one JSON line answers.

`python -m pointsman.lab.attacks.talker UID`. Asked: `to`, `port`, `protocol`, `segments` (hex), `answers` (how many to
wait for), `within` (seconds). A segment is sent when something came back for the one before, or after a pause, which is
long where each segment is to have an answer of its own.
"""

import encodings.idna  # noqa: F401 -- a socket loads it late, when the user may not read the interpreter's files
import json
import os
import select
import socket
import sys
import time
from typing import Any

from pointsman.lab.attacks import wire

PAUSE = 0.3
PATIENCE = 5.0
AFTER = 0.03


def talk(asked: Any) -> dict[str, Any]:
    """Have one conversation and return what came and how it ended: `open`, `closed`, `reset` or `refused`."""
    try:
        line = socket.create_connection((asked["to"], asked["port"]), min(asked["within"], 10))
    except OSError as error:
        return {"received": "", "ended": "refused", "why": str(error)}
    with line:
        line.setblocking(False)
        segments = [bytes.fromhex(segment) for segment in asked["segments"]]
        pause = PATIENCE if asked["answers"] == len(segments) else PAUSE
        talked = _Talk(line, asked["protocol"], segments, pause)
        ended = talked.lead(asked["answers"], time.monotonic() + asked["within"])
    return {"received": bytes(talked.received).hex(), "ended": ended, "why": ""}


class _Talk:
    """One connection: what is still to be sent, and what has come."""

    def __init__(self, line: socket.socket, protocol: str, segments: list[bytes], pause: float) -> None:
        self._line = line
        self._protocol = protocol
        self._pause = pause
        self._later = segments[1:]
        self._now = segments[0] if segments else b""
        self._sent_at = time.monotonic()
        self._known = 0
        self.received = bytearray()

    def lead(self, wanted: int, until: float) -> str:
        """Send and receive until enough answers came, the other side ends, or the time is over."""
        while (left := until - time.monotonic()) > 0:
            if self._enough(wanted):
                until, wanted = min(until, time.monotonic() + AFTER), sys.maxsize
            read, write, _ = select.select([self._line], [self._line] if self._now else [], [], min(left, 0.02))
            try:
                if read:
                    data = self._line.recv(1 << 20)
                    if not data:
                        return "closed"
                    self.received += data
                if write:
                    self._now = self._now[self._line.send(self._now[: 1 << 18]) :]
                    self._sent_at = time.monotonic()
            except BlockingIOError:
                continue
            except (ConnectionError, TimeoutError):
                return "reset"
            self._next()
        return "open"

    def _enough(self, wanted: int) -> bool:
        if self._now or self._later or wanted > 1000:
            return False
        if self._protocol == "http2" and wire.goes_away(bytes(self.received)):
            return True
        return len(wire.answers(self._protocol, bytes(self.received), ended=False)) >= wanted

    def _next(self) -> None:
        came = len(self.received) > self._known
        if self._later and not self._now and (came or time.monotonic() - self._sent_at > self._pause):
            self._known = len(self.received)
            self._now = self._later.pop(0)
            self._sent_at = time.monotonic()


def main() -> None:
    """Answer until the input ends."""
    uid = int(sys.argv[1])
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(talk(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
