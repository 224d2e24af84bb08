"""What the interception reads of a request: the port that it goes to decides, by the node file."""

from dataclasses import replace
from typing import Protocol

from pointsman.model.context import Request
from pointsman.model.decision import Malformed
from pointsman.model.policy import Ports


class Captured(Protocol):
    """The ports of a node file. Every port in neither list is read as plain TCP."""

    @property
    def http(self) -> Ports:
        """Return the ports that carry HTTP and nothing else."""

    @property
    def auto(self) -> Ports:
        """Return the ports where the first bytes tell."""


def seen(request: Request, captured: Captured | None) -> tuple[Request, tuple[str, ...]]:
    """Return what is read of a request, and what is to be said of that. `captured` is None where no file tells."""
    port = request.port
    if request.protocol == "tcp" or (captured is None and port == 80):
        return request, ()
    if captured is None:
        return request, (f"port {port} is captured as HTTP; the node file tells, name it with --node",)
    if _among(port, captured.http) or _among(port, captured.auto):
        return request, ()
    why = f"port {port} is not in the node file's `capture`: decided as plain TCP, its content is not read"
    return replace(request, protocol="tcp", method="", host="", path="", headers=()), (why,)


def unreadable(request: Request, captured: Captured | None) -> Malformed | None:
    """Return why nothing but HTTP is taken where a plain TCP flow goes to; None where it is."""
    if request.protocol != "tcp" or captured is None or not _among(request.port, captured.http):
        return None
    return Malformed(f"port {request.port} is captured as HTTP and nothing else, by the node file's `capture.http`")


def _among(port: int, ranges: Ports) -> bool:
    return any(low <= port <= high for low, high in ranges)
