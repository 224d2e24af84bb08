"""A checked policy: every name in it resolves, every condition has its boolean form."""

from dataclasses import dataclass

from pointsman.model.attribute import Attribute, Value
from pointsman.model.formula import Formula
from pointsman.model.problem import Place
from pointsman.model.profile import Profile

Ports = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Destination:
    """Somewhere to go. `hosts` in lower case, `*.x` covers any depth below x but not x.

    `addresses` are canonical networks. `any_address` says that the policy trusts the host name that the
    client gives; otherwise a request by host holds only if it goes to one of `addresses`, else 421. `resolved`
    says that DNS has to tell the addresses of its hosts: the agent asks and adds them, until then there are none.
    `raw_path` leaves paths as the client wrote them; rules by path are refused for such a destination. At `grpc_ports`
    its servers speak gRPC and nothing else.
    """

    name: str
    hosts: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    ports: Ports = ()
    any_address: bool = False
    raw_path: bool = False
    resolved: bool = False
    grpc_ports: Ports = ()


@dataclass(frozen=True, slots=True)
class Identity:
    """How users are proven: a JWT (RFC 7519) in a header, verified with a local key set (RFC 7517).

    `header` is in lower case; `prefix` is what stands before the token. `forward` leaves the header in the
    request. `keys` is the JWK set as JSON text; `skew` is in seconds.
    """

    header: str
    prefix: str
    issuer: str
    audiences: tuple[str, ...]
    keys: str
    forward: bool
    skew: int = 30


@dataclass(frozen=True, slots=True)
class Rule:
    """First match in order. `profile` is None for a deny. `source` is the condition as written (CEL)."""

    name: str
    when: Formula
    profile: str | None
    source: str
    place: Place


@dataclass(frozen=True, slots=True)
class Policy:
    """All rules, the last of which is the default and always holds.

    `version` is the content hash of the canonical form. `derived` holds, per derived attribute (`operation`,
    `data.*`), the formula of each value that it can have; rules in here are already free of them.
    """

    name: str
    version: str
    attributes: tuple[Attribute, ...]
    destinations: tuple[Destination, ...]
    profiles: tuple[Profile, ...]
    rules: tuple[Rule, ...]
    identity: Identity | None
    derived: tuple[tuple[str, tuple[tuple[Value, Formula], ...]], ...] = ()

    def profile(self, name: str) -> Profile:
        """Return the profile of this name."""
        return next(profile for profile in self.profiles if profile.name == name)

    def attribute(self, name: str) -> Attribute:
        """Return the attribute of this name."""
        return next(attribute for attribute in self.attributes if attribute.name == name)
