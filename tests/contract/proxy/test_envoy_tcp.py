"""What a real Envoy does with bytes that are not HTTP, or that nobody may look at."""

import socket
import sys

import pytest

from pointsman.lab import exec as on
from pointsman.lab import world
from pointsman.lab.instance import reached
from pointsman.lab.names import Lab

from .conftest import SAFE, Proxy, inside

ADDRESS = "198.51.100.80"


def _talk(lab: Lab, port: int, first: bytes) -> bytes:
    with inside(lab):
        flow = socket.create_connection((ADDRESS, port), timeout=5)
    with flow:
        flow.sendall(first)
        return flow.recv(4096)


def test_bytes_that_are_not_http_take_the_way_of_their_entry(lab: Lab, proxy: Proxy) -> None:
    assert _talk(lab, 7000, b"\x00\x01 not http") == b"\x00\x01 not http"
    assert reached(lab)[-1]["source"] == SAFE[0]
    record = proxy.record(kind="tcp", destination=f"{ADDRESS}:7000")
    assert (record["lane"], str(record["source"]).split(":")[0]) == ("safe@b", SAFE[0])


def test_http_on_a_port_that_is_looked_at_is_decided_as_http(lab: Lab, proxy: Proxy) -> None:
    answer = _talk(lab, 7000, b"GET /deny HTTP/1.1\r\nhost: public.example\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 403")


def test_a_server_that_speaks_first_is_heard(lab: Lab, proxy: Proxy) -> None:
    with inside(lab):
        flow = socket.create_connection((ADDRESS, 7001), timeout=5)
    with flow:
        assert flow.recv(99).startswith(b"220 ")
    assert reached(lab)[-1]["source"] == SAFE[0]


def test_an_entry_without_a_lane_refuses(lab: Lab, proxy: Proxy) -> None:
    code = (
        "import os, socket, encodings.idna; os.setuid(2001);"
        f"s = socket.create_connection(('{ADDRESS}', 7000), 5); s.sendall(b'\\0x'); print(s.recv(9))"
    )
    before = len(reached(lab))
    done = on.run(lab, world.INSTANCE, [sys.executable, "-c", code])
    assert "ConnectionResetError" in done.stderr or done.stdout.strip() == "b''", done
    assert len(reached(lab)) == before


def test_bytes_that_are_not_http_on_an_http_port_do_not_leave(lab: Lab, proxy: Proxy) -> None:
    before = len(reached(lab))
    try:
        assert _talk(lab, 8081, b"\x00\x01 not http\r\n\r\n")[:12] in (b"", b"HTTP/1.1 400")
    except ConnectionResetError:
        pass
    assert len(reached(lab)) == before


@pytest.mark.parametrize(
    "first", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x04\x08\x00\x00\x00\x00\x00", b"GET / HTTP/1.1\r\n"]
)
def test_the_start_of_a_request_that_never_ends_does_not_leave(lab: Lab, proxy: Proxy, first: bytes) -> None:
    before = len(reached(lab))
    with inside(lab):
        flow = socket.create_connection((ADDRESS, 8081), timeout=12)
    with flow:
        flow.sendall(first)
        flow.settimeout(0.5)
        try:
            flow.recv(99)
        except TimeoutError:
            pass
    assert len(reached(lab)) == before
