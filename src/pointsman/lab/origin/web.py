"""HTTP and WebSocket at the origin, as an ASGI application.

`/big?bytes=N` sends N bytes, `/status/NNN` answers with that status, `/slow?seconds=S` waits before its answer. Every
other path, with any method and body, answers with what was seen. A WebSocket says what was seen, then echoes.
"""

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs

from pointsman.lab.origin.record import Record, Seen, plain, text

_CHUNK = b"0123456789abcdef" * 4096
Answer = tuple[int, dict[str, object]]


class Origin:
    """The application; it writes each request down before it looks at it."""

    def __init__(self, record: Record) -> None:
        """Keep the record that requests go to."""
        self._record = record

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request, WebSocket or life-cycle event."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send)

    async def _http(self, scope: Any, receive: Any, send: Any) -> None:
        seen = _seen(scope, f"http/{scope['http_version']}")
        self._record.add(seen)
        query = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
        path = scope["path"]
        if path == "/big":
            await _send_bytes(receive, send, int(query.get("bytes", "0")))
            return
        length = await _drain(receive)
        status = int(path.removeprefix("/status/")) if path.startswith("/status/") else 200
        if path == "/slow":
            await asyncio.sleep(min(float(query.get("seconds", "1")), 60))
        body = json.dumps({**seen.facts(), "length": length}).encode() + b"\n"
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _websocket(self, scope: Any, receive: Any, send: Any) -> None:
        seen = _seen(scope, "websocket")
        self._record.add(seen)
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": json.dumps(seen.facts())})
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": event.get("text"), "bytes": event.get("bytes")})


def _seen(scope: Any, protocol: str) -> Seen:
    headers = text(scope["headers"])
    source, source_port = scope["client"]
    address, port = scope["server"]
    query = scope["query_string"].decode("latin-1")
    return Seen(
        protocol=protocol,
        source=plain(source),
        source_port=source_port,
        address=plain(address),
        port=port,
        method=scope.get("method", "GET"),
        host=",".join(value for name, value in headers if name == "host"),
        path=scope["raw_path"].decode("latin-1") + (f"?{query}" if query else ""),
        headers=headers,
    )


async def _drain(receive: Any) -> int:
    """Read the body to its end and return its length; nothing of it is kept."""
    length = 0
    while True:
        event = await receive()
        length += len(event.get("body", b""))
        if event["type"] == "http.disconnect" or not event.get("more_body"):
            return length


async def _send_bytes(receive: Any, send: Any, length: int) -> None:
    """Send so many bytes, or fewer to somebody who has gone."""
    gone = asyncio.create_task(_gone(receive))
    headers = [(b"content-type", b"application/octet-stream"), (b"content-length", str(length).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while length > 0 and not gone.done():
        await send({"type": "http.response.body", "body": _CHUNK[:length], "more_body": length > len(_CHUNK)})
        length -= len(_CHUNK)
        await asyncio.sleep(0)  # to somebody who has gone, nothing waits
    gone.cancel()


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
