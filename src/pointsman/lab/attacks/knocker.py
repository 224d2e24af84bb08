"""Somebody who keeps a gateway busy: `knocker.py idle|brief ADDRESS PORT COUNT` or `body ADDRESS PORT CERT KEY CA`.

It says a line when it stands, keeps at it until its input ends, and says how far it got.
"""

import resource
import select
import socket
import ssl
import sys
import time

CHUNK = b" " * (1 << 16)
GIGABYTE = 1 << 30


def idle(address: str, port: int, count: int) -> str:
    """Open connections, say nothing, and open those anew that were ended."""
    lines: list[socket.socket] = []
    while len(lines) < count:
        line = socket.socket()
        line.setblocking(False)
        line.connect_ex((address, port))
        lines.append(line)
        if len(lines) % 500 == 0:
            time.sleep(0.02)
    _say(f"{len(lines)} opened")
    again = 0
    while not select.select([sys.stdin], [], [], 0.1)[0]:
        poll = select.poll()
        known = {line.fileno(): line for line in lines}
        for number in known:
            poll.register(number, select.POLLIN)
        for number, _ in poll.poll(0):
            lines.remove(known[number])
            known[number].close()
            line = socket.socket()
            line.setblocking(False)
            line.connect_ex((address, port))
            lines.append(line)
            again += 1
    return f"{again} again"


def brief(address: str, port: int, count: int) -> str:
    """Open connections one after the other, say a byte on each and end it."""
    _say("begun")
    for _ in range(count):
        with socket.create_connection((address, port), 10) as line:
            line.sendall(b"\x16")
    return f"{count} ended"


def body(address: str, port: int, certificate: str, key: str, ca: str) -> str:
    """Send a gigabyte to where a request for a tunnel goes, as long as it is taken."""
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(certificate, key)
    sent = 0
    with context.wrap_socket(socket.create_connection((address, port), 10), server_hostname=address) as line:
        line.settimeout(15)
        line.sendall(b"PUT /v1/tunnels/x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % GIGABYTE)
        _say("sending")
        try:
            while sent < GIGABYTE:
                line.sendall(CHUNK)
                sent += len(CHUNK)
        except OSError as error:
            return f"{type(error).__name__} after {sent >> 20} MB"
    return f"all of {sent >> 20} MB"


def _say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


def main() -> None:
    """Do what is asked, with as many files open as this process may have."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    what, address, port, *rest = sys.argv[1:]
    if what == "body":
        _say(body(address, int(port), *rest))
    else:
        _say({"idle": idle, "brief": brief}[what](address, int(port), int(rest[0])))


if __name__ == "__main__":
    main()
