"""An agent, or a gateway, that gives the answers it was told to, and remembers what it was asked."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from threading import Thread
from typing import Any


@dataclass(frozen=True, slots=True)
class Asked:
    """What came: path and body."""

    found: list[tuple[str, Any]] = field(default_factory=list)


@contextmanager
def answering(runtime: Path, answers: Mapping[str, Any]) -> Iterator[Asked]:
    """Answer at a runtime folder while the block runs, each path with its value."""
    asked = Asked()

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            asked.found.append((self.path, json.loads(body) if body else None))
            said = json.dumps(answers[self.path]).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object, **__: object) -> None:
            """Say nothing."""

    with ThreadingUnixStreamServer(str(runtime / "control.sock"), Answering) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield asked
        finally:
            server.shutdown()
