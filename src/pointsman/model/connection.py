"""A TCP connection as the kernel has it: where it goes, whose it is, and what it is bound to."""

from dataclasses import dataclass, field
from ipaddress import ip_address

GONE = "#"  # begins what stands for a device that is no more


@dataclass(frozen=True, slots=True, order=True)
class Connection:
    """One TCP connection of this host that has something left to send, seen from its own side.

    `device` is the one that it is bound to, empty where it is to none; `mark` is that of its socket. `sent` (and
    acknowledged) and `received` are in bytes. `handle` is this very socket to the kernel, and stays the same.
    """

    local: str
    local_port: int
    remote: str
    remote_port: int
    uid: int
    device: str = ""
    mark: int = 0
    sent: int = 0
    received: int = 0
    handle: bytes = field(default=b"", repr=False, compare=False)

    @property
    def leaves(self) -> bool:
        """Return whether neither of its ends is on loopback."""
        return not (ip_address(self.local).is_loopback or ip_address(self.remote).is_loopback)

    @property
    def points(self) -> tuple[str, str]:
        """Return both ends as `address:port`, as the decision records write them."""
        return point(self.local, self.local_port), point(self.remote, self.remote_port)


def point(address: str, port: int) -> str:
    """Return `address:port`, an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
