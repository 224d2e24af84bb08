"""What every server of the gateway can do, whatever kind of tunnel it ends."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from pointsman.gateway.grant import Grant
from pointsman.gateway.site import Server


@dataclass(frozen=True, slots=True)
class Traffic:
    """What was seen of one tunnel. `age` is in seconds since its far end last proved itself, None for never; bytes."""

    age: float | None
    received: int
    sent: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What a server has. `why` tells what keeps it from serving, and is empty where nothing does.

    `entries` are the tunnels that it accepts, by identity, each with what it knows of it; `traffic` those that it met.
    """

    why: str = ""
    entries: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    traffic: Mapping[str, Traffic] = field(default_factory=lambda: MappingProxyType({}))


class TunnelServer(Protocol):
    """Ends tunnels of one kind. Each method may be repeated at any time, also after a crash half-way.

    All raise `Fault` where the outside world fails.
    """

    @property
    def site(self) -> Server:
        """Return what the gateway file says of it."""
        ...

    def start(self) -> None:
        """Bring it up, or adopt and mend what is there."""
        ...

    def observe(self) -> Seen:
        """Say what is there. Changes nothing."""
        ...

    def entry(self, grant: Grant) -> str:
        """Return what the server must know of a tunnel."""
        ...

    def change(self, put: Iterable[Grant], drop: Iterable[str]) -> None:
        """Accept these tunnels, and no longer those of these identities; open sessions of the latter end at once."""
        ...

    def stop(self) -> None:
        """End it, and remove its link and all that it wrote down."""
        ...
