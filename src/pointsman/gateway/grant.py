"""What nodes ask for and what the gateway has granted. All frozen; no secret shows in a `repr`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from pointsman.model.profile import Qos
from pointsman.model.tunnel import Kind

OPERATOR = ""

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    """A tunnel that is asked for. `owner` is the node's name, `OPERATOR` for the gateway's own operator.

    `identity` is how its far end proves itself: a WireGuard public key in base64, or the common name of the
    certificate that this request will get. `bandwidth` is in bits per second each way, `ttl` in seconds, None for good.
    `digest` is a hash of all that was said; `csr` is the signing request for the certificate, in PEM.
    """

    owner: str
    name: str
    kind: Kind
    identity: str
    bandwidth: int | None
    qos: Qos
    ttl: int | None
    digest: str
    preshared_key: str = field(default="", repr=False)
    csr: str = ""

    @property
    def key(self) -> Key:
        """Return what the tunnel is known by: names are each node's own."""
        return (self.owner, self.name)


@dataclass(frozen=True, slots=True)
class Grant:
    """A tunnel that the gateway keeps up. `expires` is in seconds of the boot-time clock, None for never.

    `number` is unlike that of every other tunnel; it marks its connections. `certificate` is PEM, for OpenVPN.
    """

    asked: Request
    slot: int
    number: int
    addresses: tuple[str, ...]
    expires: float | None
    certificate: str = ""

    @property
    def key(self) -> Key:
        """Return what the tunnel is known by."""
        return self.asked.key

    @property
    def kind(self) -> Kind:
        """Return what kind of tunnel it is."""
        return self.asked.kind

    @property
    def identity(self) -> str:
        """Return how the far end proves itself."""
        return self.asked.identity


@dataclass(frozen=True, slots=True)
class State:
    """All that the gateway has granted, and the slot that it gave out last in each pool."""

    grants: Mapping[Key, Grant] = field(default_factory=lambda: MappingProxyType({}))
    last: Mapping[Kind, int] = field(default_factory=lambda: MappingProxyType({}))

    def of(self, kind: Kind) -> tuple[Grant, ...]:
        """Return the grants of one kind."""
        return tuple(grant for grant in self.grants.values() if grant.kind is kind)

    def having(self, grant: Grant) -> "State":
        """Return the state with this grant in it; its slot is the last given out, unless it had it already."""
        last = self.last if grant.key in self.grants else {**self.last, grant.kind: grant.slot}
        return State({**self.grants, grant.key: grant}, last)

    def without(self, *keys: Key) -> "State":
        """Return the state without these grants; their slots are not the next to be given out."""
        return replace(self, grants={key: grant for key, grant in self.grants.items() if key not in keys})

    def expired(self, now: float) -> tuple[Key, ...]:
        """Return the grants whose time is over."""
        return tuple(key for key, grant in self.grants.items() if grant.expires is not None and grant.expires <= now)

    def renewed(self, keys: tuple[Key, ...], ttl: int, now: float) -> "State":
        """Return the state with these grants good for `ttl` seconds from now; what never expires stays so."""
        until = {
            key: replace(grant, expires=now + ttl, asked=replace(grant.asked, ttl=ttl))
            for key in keys
            for grant in (self.grants[key],)
            if grant.expires is not None
        }
        return replace(self, grants={**self.grants, **until})
