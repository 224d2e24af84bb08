"""Traffic that runs beside a fault: `python load.py KIND UID CANARY SECONDS`, one JSON line with its counts at the end.

`flood` sends datagrams and opens connections as fast as it can, none of which may leave. `flows` keeps 50 connections
to the API busy, a request every 10 ms on each, and makes a connection anew when it ends.
"""

import encodings.idna  # noqa: F401 -- a socket loads it late, when the user may not read the interpreter's files
import json
import os
import re
import select
import socket
import sys
import time
from collections.abc import Callable
from functools import partial

API, STRANGER = ("198.51.100.81", 80), ("198.51.100.82", 443)
FLOWS, EVERY = 50, 0.01


def flood(canary: bytes, until: float) -> dict[str, int]:
    """Send what must be dropped."""
    sent = tried = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        while time.monotonic() < until:
            for _ in range(200):
                tried += 1
                try:
                    sent += out.sendto(canary, STRANGER) > 0
                except OSError:
                    pass
            with socket.socket() as talk:
                talk.settimeout(0.05)
                try:
                    talk.connect((STRANGER[0], 7001))
                    talk.sendall(canary)
                except OSError:
                    pass
            time.sleep(0.005)
    return {"tried": tried, "accepted": sent}


def flows(canary: bytes, until: float, many: int = FLOWS) -> dict[str, int]:
    """Keep connections busy with requests, and count the answers by status."""
    lines: dict[socket.socket, _Flow] = {}
    counts = {"200": 0, "lost": 0, "connections": 0}
    while time.monotonic() < until:
        while len(lines) < many:
            try:
                line = socket.create_connection(API, 2)
                lines[line] = _Flow(canary)
                line.sendall(lines[line].request)
                counts["connections"] += 1
            except OSError:
                counts["lost"] += 1
                break
        for line in select.select(list(lines), [], [], 0.05)[0]:
            try:
                status = lines[line].take(line.recv(65536))
                if status:
                    counts[status] = counts.get(status, 0) + 1
                    line.sendall(lines[line].request)
            except OSError:
                counts["lost"] += 1
                del lines[line]
                line.close()
        for line in [one for one, flow in lines.items() if time.monotonic() - flow.since > 5]:
            counts["lost"] += 1
            del lines[line]
            line.close()
        time.sleep(EVERY)
    return counts


class _Flow:
    """One connection: the answer that is coming in."""

    def __init__(self, canary: bytes) -> None:
        self.request = b"GET /v1/flow HTTP/1.1\r\nHost: api.pay.test\r\nx-canary: " + canary + b"\r\n\r\n"
        self.since = time.monotonic()
        self._data = b""

    def take(self, data: bytes) -> str:
        """Return the status of the answer that is complete now, or nothing."""
        if not data:
            raise ConnectionError("closed")
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        if not found or not length or len(body) < int(length[1]):
            return ""
        self._data, self.since = b"", time.monotonic()
        return head.split(b" ")[1].decode()


KINDS: dict[str, Callable[[bytes, float], dict[str, int]]] = {
    "flood": flood,
    "flows": flows,
    "flow": partial(flows, many=4),
}


def main() -> None:
    """Become the user and make the traffic."""
    kind, uid, canary, seconds = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode(), float(sys.argv[4])
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    until = time.monotonic() + seconds
    kinds: dict[str, Callable[[bytes, float], dict[str, int]]] = {
        "flood": flood,
        "flows": flows,
        "flow": partial(flows, many=4),
    }
    sys.stdout.write(json.dumps(kinds[kind](canary, until)) + "\n")


if __name__ == "__main__":
    main()
