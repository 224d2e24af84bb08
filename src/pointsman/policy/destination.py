"""Where does a request go? By exact host, else by the longest wildcard, else by address; ports have to fit.

A plain TCP flow shows no host: it goes to any destination with its address, one with hosts included.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

import re2

from pointsman.model.context import Absent
from pointsman.model.policy import Destination
from pointsman.policy.evaluate import network

_PORT = r"(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
# The authorities that are not refused, as RE2 for a whole value: the proxy uses the same text.
AUTHORITY = rf"(?:{_LABEL}(?:\.{_LABEL})*\.?|\[[0-9A-Fa-f:.]{{2,45}}\])(?::{_PORT})?"
NOWHERE = Destination("")


@dataclass(frozen=True, slots=True)
class Chosen:
    """The destination of a request, and whether its host name was what chose it."""

    destination: Destination
    by_host: bool


def canonical_host(authority: str) -> str:
    """Return the host in lower case, without port and final dot; nothing where it is malformed."""
    if not _authority().fullmatch(authority):
        return ""
    if authority.startswith("["):
        return authority[: authority.index("]") + 1].lower()
    return authority.split(":", 1)[0].removesuffix(".").lower()


def canonical_address(text: str) -> str:
    """Return an address as the kernel writes it, IPv4 mapped into IPv6 as IPv4; nothing where it is none."""
    try:
        address = ip_address(text)
    except ValueError:
        return ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def choose(destinations: Sequence[Destination], host: str, address: str, port: int) -> Chosen | Absent:
    """Choose the destination of a request (with a host) or of a plain TCP flow (without).

    Several destinations may fit a flow; then it is not known which one is meant.
    """
    fitting = [destination for destination in destinations if covers_port(destination, port)]
    for pattern in _patterns(host) if host else ():
        for destination in fitting:
            if pattern in destination.hosts:
                return Chosen(destination, True)
    found = [d for d in fitting if not (host and d.hosts) and any(_inside(address, text) for text in d.addresses)]
    if len(found) > 1 and not host:
        names = tuple(destination.name for destination in found)
        return Absent("several destinations have this address and port", names)
    return Chosen(found[0] if found else NOWHERE, False)


def reachable(destination: Destination, address: str) -> bool:
    """Say whether a connection to this address may be meant for the destination."""
    return destination.any_address or any(_inside(address, text) for text in destination.addresses)


def covers_port(destination: Destination, port: int) -> bool:
    """Say whether a destination has this port; without any declared it has all."""
    return not destination.ports or any(low <= port <= high for low, high in destination.ports)


def _patterns(host: str) -> list[str]:
    """Return the host patterns that fit a host, best first."""
    labels = host.split(".")
    return [host, *("*." + ".".join(labels[place:]) for place in range(1, len(labels)))]


def _inside(address: str, text: str) -> bool:
    return bool(address) and ip_address(address) in network(text)


@lru_cache(maxsize=1)
def _authority() -> "re2._Regexp":
    return re2.compile(AUTHORITY)
