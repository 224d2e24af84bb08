"""What the guard's chains have in common: the users and lanes that they tell apart."""

from collections.abc import Mapping
from dataclasses import dataclass

from pointsman.dataplane.nftables import mark
from pointsman.dataplane.treatment import Treatment
from pointsman.model.routing import MASK, OUTER_MARK
from pointsman.model.tunnel import Lane


@dataclass(frozen=True, slots=True)
class Ours:
    """User ids, lanes (by mark), how each profile is treated, and the verdict for what must not leave."""

    proxy: int
    tunnel: int
    exempt: frozenset[int]
    link: frozenset[int]
    lanes: tuple[Lane, ...]
    treated: Mapping[str, Treatment]
    buckets: Mapping[str, str]
    held: str
    glass: bool = False
    queued: frozenset[str] = frozenset()
    outer_dscp: tuple[tuple[int, int], ...] = ()

    @property
    def rest(self) -> str:
        """Return the part of a mark that belongs to others."""
        return mark(0xFFFFFFFF ^ MASK)

    @property
    def note_inside(self) -> str:
        """Return what notes on a connection that no uplink brought it.

        A program can put a packet with any source into `lo`; its answers must not leave as those to somebody outside.
        """
        unmarked = f"ct mark & {mark(MASK)} == {mark(0)}"
        return f"ct direction original {unmarked} ct mark set ct mark & {self.rest} | {mark(OUTER_MARK)}"

    @property
    def answer(self) -> str:
        """Return the match of what answers somebody outside, who came by an uplink."""
        return f"ct direction reply ct mark & {mark(MASK)} != {mark(OUTER_MARK)}"

    def by_mark(self, what: str, chain: str) -> str:
        """Return the lookup that sends a packet to its lane's chain by a mark; empty where there is no lane."""
        ways = ", ".join(f"{mark(lane.mark)} : goto {chain}_{lane.mark:08x}" for lane in self.lanes)
        return f"{what} & {mark(MASK)} vmap {{ {ways} }}" if ways else ""
