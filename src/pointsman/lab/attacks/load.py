"""Traffic that runs beside a fault: `python load.py KIND UID CANARY SECONDS`, one JSON line with its counts at the end.

`flood` sends datagrams and opens connections as fast as it can, none of which may leave. `flows` keeps 50 connections
to the API busy, a request every 10 ms on each, and makes a connection anew when it ends.
"""

import encodings.idna  # noqa: F401 -- a socket loads it late, when the user may not read the interpreter's files
import json
import os
import select
import socket
import sys
import time

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
    """Keep connections busy with requests."""
    request = b"GET /v1/flow HTTP/1.1\r\nHost: api.pay.test\r\nx-canary: " + canary + b"\r\n\r\n"
    lines: dict[socket.socket, float] = {}
    counts = {"answered": 0, "refused": 0, "lost": 0, "connections": 0}
    while time.monotonic() < until:
        while len(lines) < many:
            try:
                line = socket.create_connection(API, 1)
                line.sendall(request)
                lines[line] = time.monotonic()
                counts["connections"] += 1
            except OSError:
                counts["lost"] += 1
                time.sleep(EVERY)
                break
        readable = select.select(list(lines), [], [], 0.05)[0] if lines else []
        for line in readable:
            try:
                data = line.recv(65536)
                if not data:
                    raise ConnectionError
                counts["answered" if data.startswith(b"HTTP/1.1 200") else "refused"] += 1
                line.sendall(request)
            except OSError:
                counts["lost"] += 1
                del lines[line]
                line.close()
        now = time.monotonic()
        for line, since in list(lines.items()):
            if line in readable:
                lines[line] = now
            elif now - since > 5:
                counts["lost"] += 1
                del lines[line]
                line.close()
        time.sleep(EVERY)
    return counts


def main() -> None:
    """Become the user and make the traffic."""
    kind, uid, canary, seconds = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode(), float(sys.argv[4])
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    until = time.monotonic() + seconds
    found = {"flood": flood, "flows": flows, "flow": lambda c, u: flows(c, u, 4)}[kind](canary, until)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
