"""Callers on the instance: identity tokens, and clients that put many requests on one connection."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from pointsman.lab import exec as on
from pointsman.lab import world
from pointsman.lab.names import Lab
from pointsman.model.fault import Fault


def token(lab: Lab, algorithm: str = "ES256", lifetime: int = 3600, **claims: object) -> str:
    """Return a signed identity token (RFC 7519) with these claims; `iss`, `aud`, `exp` can be overridden."""
    now = int(time.time())
    full = {"iss": world.ISSUER, "aud": world.AUDIENCE, "iat": now, "exp": now + lifetime, **claims}
    key = (lab.keys / f"{algorithm}.pem").read_text()
    return jwt.encode(full, key, algorithm=algorithm, headers={"kid": algorithm})


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. For gRPC `status` is the gRPC status; 0 with an `error` means that the connection failed."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str
    trailers: tuple[tuple[str, str], ...]
    error: str

    def json(self) -> Any:
        """Return the body as JSON; for gRPC it is the list of messages."""
        return json.loads(self.body)

    def header(self, name: str) -> str:
        """Return the value of a header, or nothing."""
        return next((value for found, value in self.headers if found == name), "")


class Client:
    """One connection of one process on the instance."""

    def __init__(self, process: subprocess.Popen[str], errors: Path) -> None:
        """Keep the process that holds the connection, and the file with what it complains of."""
        self._process = process
        self._errors = errors

    def ask(
        self,
        path: str,
        *,
        host: str,
        method: str = "GET",
        headers: Sequence[tuple[str, str]] = (),
        body: str = "",
        messages: int = 1,
    ) -> Answer:
        """Send one request and return its answer. `messages` counts for gRPC only."""
        request = {
            "method": method,
            "path": path,
            "host": host,
            "headers": list(headers),
            "body": body,
            "messages": messages,
        }
        if self._process.stdin is None or self._process.stdout is None:
            raise ValueError("the client has no pipes")
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise Fault(
                "lab-client", f"ask for `{path}`", f"the client ended; {self._errors.read_text()[-800:].strip()}"
            )
        found = json.loads(line)
        return Answer(
            found["status"],
            tuple((name, value) for name, value in found["headers"]),
            found["body"],
            tuple((name, value) for name, value in found["trailers"]),
            found["error"],
        )


@contextmanager
def connected(lab: Lab, address: str, port: int, kind: str = "http1", uid: int = 1000) -> Iterator[Client]:
    """Have a client on the instance, run by this user, while the block runs.

    `kind` is `http1`, `http2`, `grpc`, `call` (one that stays open) or `websocket`.
    """
    argv = [sys.executable, "-m", "pointsman.lab.client", kind, address, str(port), str(uid)]
    with lab.log(world.INSTANCE, "client").open("ab") as errors:
        process = subprocess.Popen(
            on.command(lab, world.INSTANCE, argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        yield Client(process, lab.log(world.INSTANCE, "client"))
    finally:
        process.kill()
        process.communicate()
