"""The bytes of an HTTP/2 connection, made without any of the checks that a client would do."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hpack import Encoder
from hyperframe.frame import DataFrame, HeadersFrame, SettingsFrame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MOST = 16384


def opening() -> bytes:
    """Return the preface and empty settings."""
    return PREFACE + bytes(SettingsFrame(0).serialize())


def connection(streams: Sequence[Mapping[str, Any]]) -> bytes:
    """Return a whole connection with these streams, numbered 1, 3, 5 …

    A stream has `method`, `authority`, `path`, `scheme` (null leaves one out), `headers` (pairs, after those), `exact`
    (all pairs, pseudo-headers included), `data`.
    """
    encoder = Encoder()
    parts = [opening()]
    for number, stream in enumerate(streams):
        parts += _stream(encoder, 1 + 2 * number, stream)
    return b"".join(parts)


def fields(stream: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """Return the fields of a stream in their order."""
    pseudo = [(f":{name}", stream.get(name)) for name in ("method", "scheme", "authority", "path")]
    pairs = stream.get("exact") or [*((n, v) for n, v in pseudo if v is not None), *stream.get("headers", ())]
    return [(str(name).encode("latin-1"), str(value).encode("latin-1")) for name, value in pairs]


def _stream(encoder: Encoder, number: int, stream: Mapping[str, Any]) -> Iterator[bytes]:
    data = str(stream.get("data", "")).encode("latin-1")
    block = encoder.encode(fields(stream))
    head = HeadersFrame(number, block)
    head.flags.add("END_HEADERS")
    if not data:
        head.flags.add("END_STREAM")
    yield bytes(head.serialize())
    if data:
        body = DataFrame(number, data[:MOST])
        body.flags.add("END_STREAM")
        yield bytes(body.serialize())
