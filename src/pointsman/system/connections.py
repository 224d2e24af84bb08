"""Edge to the kernel's socket table: which TCP connections stand, and how to end them."""

import re
import socket
import subprocess
from dataclasses import dataclass

from pyroute2 import DiagSocket

from pointsman.model.fault import Fault

ESTABLISHED = 1 << 1


@dataclass(frozen=True, slots=True, order=True)
class Connection:
    """One established TCP connection of this host, seen from its own side."""

    local: str
    local_port: int
    remote: str
    remote_port: int
    uid: int


def established() -> tuple[Connection, ...]:
    """Return the established TCP connections that leave this host, loopback left out.

    Not to be called in the thread of an event loop: pyroute2 runs one of its own.
    """
    fields = ("idiag_src", "idiag_sport", "idiag_dst", "idiag_dport", "idiag_uid")
    try:
        with DiagSocket() as diag:
            diag.bind()
            found = [
                Connection(*(entry[field] for field in fields))
                for family in (socket.AF_INET, socket.AF_INET6)
                for entry in diag.get_sock_stats(states=ESTABLISHED, family=family)
            ]
    except OSError as error:
        raise Fault("connections", "list the open connections", str(error)) from error
    return tuple(sorted(c for c in found if not _loopback(c.remote)))


def owner(address: str, port: int) -> int | None:
    """Return the user id behind the local end of an established TCP connection, None where there is none."""
    command = ["ss", "-tnHe", "state", "established", "src", _point(address, port)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = re.search(r"\buid:([0-9]+)", done.stdout)
    # of root's sockets nothing is said
    return int(said[1]) if said else 0 if done.stdout.strip() else None


def reset(connection: Connection) -> None:
    """End the connection with a reset on both sides (`SOCK_DESTROY`)."""
    done = subprocess.run(
        [
            "ss", "-K", "-n", "state", "established",
            "src", _point(connection.local, connection.local_port),
            "dst", _point(connection.remote, connection.remote_port),
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise Fault("connections", f"reset the connection to {connection.remote}", done.stderr.strip())


def reset_from(address: str) -> None:
    """End every TCP connection that was or is being made from this address, whatever device it is bound to."""
    command = ["ss", "-K", "-n", "-t", "src", f"[{address}]" if ":" in address else address]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Fault("connections", f"reset the connections from {address}", done.stderr.strip())


def reset_marked(mark: int, mask: int) -> None:
    """End every TCP connection whose packets carry this mark."""
    _marked("reset the connections", mark, mask, "-K")


def any_marked(mark: int, mask: int) -> bool:
    """Return whether there is an established TCP connection whose packets carry this mark."""
    return bool(_marked("list the connections", mark, mask, "-H", "state", "established").strip())


def _marked(tried: str, mark: int, mask: int, *more: str) -> str:
    command = ["ss", "-n", "-t", *more, f"fwmark = {mark:#x}/{mask:#x}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Fault("connections", f"{tried} with mark {mark:#x}", done.stderr.strip())
    return done.stdout


def _point(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _loopback(address: str) -> bool:
    return address.startswith("127.") or address in ("::1", "::ffff:127.0.0.1")
