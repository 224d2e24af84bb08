"""Plain TCP at the origin: an echo, a server that speaks first, and one that shows the very bytes of a request head."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable

from pointsman.lab.origin.record import Record, Seen, plain

GREETING = b"220 lab ready\r\n"
Talk = Callable[[Record, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def serve(record: Record, port: int, talk: Talk) -> asyncio.Server:
    """Start a TCP server on both families whose connections are led by `talk`."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(record, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # what was seen is on record; how the caller left is no concern
        finally:
            writer.close()

    return await asyncio.start_server(connected, ["0.0.0.0", "::"], port)  # noqa: S104 -- inside its own namespace


async def echo(record: Record, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes."""
    first = await reader.read(65536)
    record.add(_seen(writer, "tcp", first))
    await _echo(first, reader, writer)


async def greet(record: Record, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speak first, then send back what comes."""
    record.add(_seen(writer, "tcp", b""))
    writer.write(GREETING)
    await _echo(await reader.read(65536), reader, writer)


async def show_head(record: Record, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every HTTP/1.1 request with the bytes of its head as they came (`body`, in latin-1)."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        seen = _seen(writer, "raw", head)
        record.add(seen)
        length = re.search(rb"(?im)^content-length:\s*(\d+)", head)
        if length:
            await reader.readexactly(int(length[1]))
        body = json.dumps(seen.facts()).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body))
        writer.write(body)
        await writer.drain()


async def _echo(data: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data:
        writer.write(data)
        await writer.drain()
        data = await reader.read(65536)


def _seen(writer: asyncio.StreamWriter, protocol: str, data: bytes) -> Seen:
    source, here = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
    body = data[:65536].decode("latin-1")
    return Seen(protocol, plain(source[0]), source[1], plain(here[0]), here[1], body=body)
