"""A gateway as its file says it should be."""

from dataclasses import dataclass
from pathlib import Path

from pointsman.gateway.addresses import Pool
from pointsman.gateway.admission import Capacity
from pointsman.model.tunnel import Endpoint, Kind


@dataclass(frozen=True, slots=True)
class Server:
    """One server for tunnels of a kind: where it is dialled, its link, and the addresses that it gives out."""

    kind: Kind
    endpoint: Endpoint
    pool: Pool
    device: str
    mtu: int
    redirect: bool = False


@dataclass(frozen=True, slots=True)
class Api:
    """Where nodes ask. `nodes` is the file of the authority that signs for them.

    `secrets` are the files of what is shared with single nodes, `secret` of what is shared with all others.
    """

    listen: tuple[str, ...]
    port: int
    certificate: Path
    key: Path
    nodes: Path
    secret: Path | None = None
    secrets: tuple[tuple[str, Path], ...] = ()

    def secret_of(self, node: str) -> Path | None:
        """Return the file of what is shared with a node, None where nothing is."""
        return dict(self.secrets).get(node, self.secret)


@dataclass(frozen=True, slots=True)
class Gateway:
    """A checked gateway file."""

    name: str
    runtime: Path
    state: Path
    uid: int
    uplinks: tuple[str, ...]
    masquerade: bool
    drops_others: bool
    api: Api | None
    servers: tuple[Server, ...]
    capacity: Capacity
