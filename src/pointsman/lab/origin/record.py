"""What reached the origin: one JSON line for each request or connection, written before it is answered."""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Seen:
    """One request or connection as the origin saw it. Where something does not apply or is unknown, it is empty."""

    protocol: str
    source: str
    source_port: int
    address: str
    port: int
    method: str = ""
    host: str = ""
    path: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""

    def facts(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return asdict(self)


class Record:
    """The file of everything that reached the origin; the authority on the word "reached"."""

    def __init__(self, path: Path) -> None:
        """Open the file for appending."""
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def add(self, seen: Seen) -> None:
        """Write one line at once."""
        line = json.dumps({"time": time.time(), **seen.facts()}, separators=(",", ":"))
        os.write(self._file, line.encode() + b"\n")


def plain(address: str) -> str:
    """Return an address without zone, and an IPv4 one as such where a dual-stack socket mapped it."""
    found = ip_address(address.split("%")[0])
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(found)


def text(headers: Sequence[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    """Return header lines as text, byte for byte (latin-1), in their order."""
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
