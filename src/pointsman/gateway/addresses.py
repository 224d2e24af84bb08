"""Which inner addresses a tunnel gets. A slot is a host number, the same in the IPv4 and the IPv6 network of a pool."""

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_network
from itertools import chain

FIRST = 2
_MOST = 1 << 20


@dataclass(frozen=True, slots=True)
class Pool:
    """The networks of one server, one of each family at most. The gateway itself has host number 1 in each."""

    networks: tuple[str, ...]

    @property
    def gateway(self) -> tuple[str, ...]:
        """Return the gateway's own addresses."""
        return self.at(1)

    @property
    def last(self) -> int:
        """Return the highest slot: the smallest network decides, and IPv4 keeps its last address for broadcasts."""
        return min(_MOST, *(_hosts(network) for network in self.networks))

    def at(self, slot: int) -> tuple[str, ...]:
        """Return the addresses of a slot."""
        return tuple(str(ip_network(network)[slot]) for network in self.networks)


def free_slot(pool: Pool, taken: Collection[int], before: int) -> int | None:
    """Return the next free slot after the one given out before, around the end; None where all are taken.

    Going round gives every address the longest possible rest before somebody else has it.
    """
    start = max(before + 1, FIRST)
    for slot in chain(range(start, pool.last + 1), range(FIRST, min(start, pool.last + 1))):
        if slot not in taken:
            return slot
    return None


def _hosts(text: str) -> int:
    network = ip_network(text)
    reserved = 2 if network.version == 4 else 1
    return (1 << (network.max_prefixlen - network.prefixlen)) - reserved
