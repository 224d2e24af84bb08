"""Traffic that runs beside a fault: `python load.py KIND UID CANARY SECONDS`, one JSON line with its counts at the end.

`flood` sends datagrams and opens connections as fast as it can, none of which may leave. `flows` keeps 50 connections
to the API busy, a request every 10 ms on each, and makes a connection anew when it ends; `flow` does so with 4. `pairs`
asks a thousand times over 20 connections, as two tenants by turns; `posts` writes under a path that is never used
again; `denied` asks for what is denied. `idle` opens connections and says nothing, `slow` says a byte a second.
"""

import encodings.idna  # noqa: F401 -- a socket loads it late, when the user may not read the interpreter's files
import json
import os
import re
import resource
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


def flows(
    canary: bytes,
    until: float,
    many: int = FLOWS,
    ask: Callable[[int], bytes] = lambda _: b"GET /v1/flow",
    most: int = sys.maxsize,
    every: float = EVERY,
) -> dict[str, int]:
    """Keep connections busy with requests, `most` of them at the most, and count the answers by status.

    `ask` gives the start of a request by its number.
    """
    asked = 0

    def fresh() -> bytes:
        nonlocal asked
        asked += 1
        line, _, more = ask(asked).partition(b"\n")
        head = b" HTTP/1.1\r\nHost: api.pay.test\r\nx-canary: " + canary + b"\r\n" + more
        return line + head + (b"Content-Length: 1\r\n\r\nx" if line.startswith(b"POST") else b"\r\n")

    lines: dict[socket.socket, _Flow] = {}
    counts = {"200": 0, "lost": 0, "connections": 0}
    while time.monotonic() < until and (asked < most or lines):
        while len(lines) < many and asked < most:
            try:
                line = socket.create_connection(API, 2)
                lines[line] = _Flow()
                line.sendall(fresh())
                counts["connections"] += 1
            except OSError:
                counts["lost"] += 1
                break
        for line in select.select(list(lines), [], [], 0.05)[0]:
            try:
                status = lines[line].take(line.recv(65536))
                if status:
                    counts[status] = counts.get(status, 0) + 1
                    if asked >= most:
                        line.close()
                        del lines[line]
                    else:
                        line.sendall(fresh())
            except OSError:
                counts["lost"] += 1
                del lines[line]
                line.close()
        for line in [one for one, flow in lines.items() if time.monotonic() - flow.since > 5]:
            counts["lost"] += 1
            del lines[line]
            line.close()
        time.sleep(every)
    return counts


class _Flow:
    """One connection: the answer that is coming in."""

    def __init__(self) -> None:
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


def held(canary: bytes, until: float, many: int, say: bytes) -> dict[str, int]:
    """Open connections, say one byte a second on each, or nothing; count those that the other side has ended."""
    lines: list[socket.socket] = []
    refused = cut = 0
    for _ in range(many):
        line = socket.socket()
        line.settimeout(0.2)  # one whose port another user has just had waits for a second
        try:
            line.connect(API)
            line.setblocking(False)
            lines.append(line)
        except OSError:
            refused += 1
            line.close()
        if time.monotonic() > until:
            break
    sys.stdout.write("\n")  # they stand
    sys.stdout.flush()
    opened, place = len(lines), 0
    while lines and time.monotonic() < until:
        for line in list(lines):
            try:
                if say:
                    line.send(say[place % len(say) :][:1])
                if line.recv(4096) == b"" or say:
                    raise ConnectionError("closed, or answered")
            except BlockingIOError:
                continue
            except OSError:
                cut += 1
                lines.remove(line)
                line.close()
        place += 1
        time.sleep(1)
    return {"opened": opened, "refused": refused, "cut": cut}


def _post(number: int) -> bytes:
    return b"POST /vault/%d-%d" % (os.getpid(), number)


def _pair(number: int) -> bytes:
    return b"GET /v1/pair/%d\nx-tenant: gold\r\n" % number if number % 2 else b"GET /v1/pair/%d" % number


SLOW = b"GET /v1/slow HTTP/1.1\r\nHost: api.pay.test\r\nx-slow: " + b"s" * 500
KINDS: dict[str, Callable[[bytes, float], dict[str, int]]] = {
    "flood": flood,
    "flows": flows,
    "flow": partial(flows, many=4),
    "pairs": partial(flows, many=20, ask=_pair, most=1000, every=0.0),
    "posts": partial(flows, many=4, ask=_post),
    "denied": partial(flows, many=20, ask=lambda _: b"GET /admin/flood", every=0.0),
    "idle": partial(held, many=9000, say=b""),
    "slow": partial(held, many=300, say=SLOW),
}


def main() -> None:
    """Become the user and make the traffic."""
    kind, uid, canary, seconds = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode(), float(sys.argv[4])
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    sys.stdout.write(json.dumps(KINDS[kind](canary, time.monotonic() + seconds)) + "\n")


if __name__ == "__main__":
    main()
