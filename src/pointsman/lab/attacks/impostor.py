"""Somebody in the place of a gateway: `python impostor.py ADDRESS PORT CERTIFICATE KEY CA`, answers by mutual TLS.

What it answers is one JSON line of its input: `status`, `json` (the answer), `size` (bytes of an answer without end),
`deep` (so many `[`), `zeros` (so many zero bytes, packed by gzip), `slowly` (a byte at a time), `silent`. It says
`ready`, and then each request line that it was sent.
"""

import gzip
import json
import re
import socket
import ssl
import sys
import threading
import time
from typing import Any

CHUNK = 1 << 16


def main() -> None:
    """Answer until killed."""
    address, port, certificate, key, ca = sys.argv[1:]
    told = json.loads(sys.stdin.readline())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server((address, int(port))) as door:
        _say("ready")
        while True:
            talk, _ = door.accept()
            # the agent of the host may be asking as well, and keep its connection
            threading.Thread(target=_serve, args=(context, talk, told), daemon=True).start()


def _serve(context: ssl.SSLContext, talk: socket.socket, told: dict[str, Any]) -> None:
    try:
        with context.wrap_socket(talk, server_side=True) as line:
            _say(_request(line))
            _answer(line, told)
            line.unwrap()
    except OSError as error:
        _say(f"ended: {type(error).__name__}")


def _request(line: ssl.SSLSocket) -> str:
    """Read a whole request and return its first line."""
    data = b""
    while b"\r\n\r\n" not in data and (more := line.recv(CHUNK)):
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    left = int(length[1]) - len(body) if length else 0
    while left > 0 and (more := line.recv(CHUNK)):
        left -= len(more)
    return head.split(b"\r\n")[0].decode("latin-1")


def _answer(line: ssl.SSLSocket, told: dict[str, Any]) -> None:
    if told.get("silent"):
        time.sleep(30)
    body, packed = json.dumps(told.get("json")).encode(), b""
    if "deep" in told:
        body = b"[" * int(told["deep"])
    if "zeros" in told:
        body, packed = gzip.compress(bytes(int(told["zeros"]))), b"Content-Encoding: gzip\r\n"
    size = int(told.get("size", len(body)))
    head = b"HTTP/1.1 %d Said\r\nContent-Length: %d\r\nLocation: /v1/other\r\n" % (told.get("status", 200), size)
    line.sendall(head + packed + b"\r\n")
    if told.get("slowly"):
        for number in range(len(body)):
            line.sendall(body[number : number + 1])
            time.sleep(0.4)
    elif "size" in told:
        for _ in range(size // CHUNK):
            line.sendall(b" " * CHUNK)
    else:
        line.sendall(body)


def _say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
