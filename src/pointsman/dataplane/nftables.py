"""The nftables language: the few pieces of text that the guard is written with. Names from outside are checked here.

A device or address that could be read as something else never reaches the rule set: it raises `ValueError`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from pointsman.model.policy import Ports
from pointsman.model.tunnel import Lane

_DEVICE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,14}")
_COMMENT = re.compile(r"[^A-Za-z0-9 _.,:;@/()<>=-]")

# The first packet of a TCP connection, and all others.
FIRST, LATER = (f"tcp flags & (fin | syn | rst | ack) {sign} syn" for sign in ("==", "!="))


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain with its rules in order. `hook` is the line that attaches it, empty for a chain that is jumped to."""

    name: str
    rules: tuple[str, ...]
    hook: str = ""


@dataclass(frozen=True, slots=True)
class Set:
    """A named set with its type and elements, as text."""

    name: str
    type: str
    elements: tuple[str, ...]
    interval: bool = False


def write_chain(chain: Chain) -> str:
    """Return the chain as text inside a table."""
    lines = [chain.hook] if chain.hook else []
    body = "".join(f"    {line}\n" for line in (*lines, *chain.rules))
    return f"  chain {chain.name} {{\n{body}  }}\n"


def write_set(declared: Set) -> str:
    """Return the set as text inside a table."""
    flags = "    flags interval\n    auto-merge\n" if declared.interval else ""
    elements = f"    elements = {braced(declared.elements)}\n" if declared.elements else ""
    return f"  set {declared.name} {{\n    type {declared.type}\n{flags}{elements}  }}\n"


def braced(elements: Iterable[str]) -> str:
    """Return the elements as an anonymous set or map."""
    return "{ " + ", ".join(elements) + " }"


def users(uids: Iterable[int]) -> str:
    """Return user ids as an anonymous set, in order."""
    return braced(str(int(uid)) for uid in sorted(uids))


def ports(ranges: Ports) -> str:
    """Return port ranges as an anonymous set; no range at all means every port."""
    return braced(port_ranges(ranges or ((0, 65535),)))


def port_ranges(ranges: Ports) -> tuple[str, ...]:
    """Return port ranges as elements."""
    return tuple(str(int(low)) if low == high else f"{int(low)}-{int(high)}" for low, high in sorted(ranges))


def device(name: str) -> str:
    """Return a device name in quotes. A star would be a wildcard, so it is refused."""
    if not _DEVICE.fullmatch(name):
        raise ValueError(f"device name `{name!r}` cannot be written into a rule")
    return f'"{name}"'


def address(text: str) -> str:
    """Return an address in canonical form."""
    return str(ip_address(text))


def network(text: str) -> str:
    """Return a network in canonical form."""
    return str(ip_network(text))


def version(text: str) -> int:
    """Return 4 or 6 for an address or network."""
    return ip_network(text, strict=False).version


def by_version(texts: Iterable[str], wanted: int) -> tuple[str, ...]:
    """Return the addresses or networks of one family, in order and once."""
    chosen = {text for text in texts if version(text) == wanted}
    return tuple(sorted(chosen, key=lambda text: ip_network(text, strict=False)))


def mark(value: int) -> str:
    """Return a mark as the kernel's tools print it."""
    return f"0x{value:08x}"


def comment(text: str) -> str:
    """Return text as a rule's comment. Characters that the language knows are replaced."""
    return f'comment "{_COMMENT.sub("_", text)[:100]}"'


def rules(*lines: str | Sequence[str]) -> tuple[str, ...]:
    """Return rules in order; empty lines and empty groups fall out."""
    flat: list[str] = []
    for line in lines:
        flat.extend([line] if isinstance(line, str) else line)
    return tuple(line for line in flat if line)


def lane_counter(lane: Lane, way: str = "out") -> str:
    """Return the name of the counter of what goes `out` by a lane, or comes `in` by it. It is called after the mark."""
    return f"lane_{lane.mark:08x}_{way}"
