"""The attributes that a policy may ask about: type, source, trust, and what their absence means."""

from dataclasses import dataclass
from enum import StrEnum

Value = str | int | bool | tuple[str, ...]

# Whole numbers in a token or header are exact up to here (IEEE 754 double precision); larger ones count as absent.
LARGEST = 2**53 - 1


class Type(StrEnum):
    """Types of attributes. `IP` is an address in text form; `STRINGS` is a list of strings."""

    STRING = "string"
    INT = "int"
    BOOL = "bool"
    IP = "ip"
    STRINGS = "strings"


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim of the verified identity token (RFC 7519)."""

    name: str


@dataclass(frozen=True, slots=True)
class Header:
    """A request header, believed because the policy says so. `name` is in lower case."""

    name: str


@dataclass(frozen=True, slots=True)
class Builtin:
    """A fact that the interception itself knows; the attribute's name says which."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Looked up by destination and path in the policy's own catalogue."""


@dataclass(frozen=True, slots=True)
class NodeFact:
    """A fact about the node, known when the policy is compiled for it."""


Source = Claim | Header | Builtin | Catalogue | NodeFact


@dataclass(frozen=True, slots=True)
class AbsentValue:
    """Where the attribute is absent, it counts as this value."""

    value: Value


@dataclass(frozen=True, slots=True)
class AbsentDeny:
    """Where the attribute is absent, only a decision that holds for each of its values stands; else deny."""


Absent = AbsentValue | AbsentDeny


@dataclass(frozen=True, slots=True)
class Attribute:
    """One declared attribute. A value outside `values` (where given) counts as absent."""

    name: str
    type: Type
    source: Source
    absent: Absent
    values: tuple[Value, ...] | None = None


# What every policy may ask about without declaring it. `request.method`, `request.path` and `request.host`
# exist for HTTP only: for a plain TCP flow they are absent, and absence never earns a laxer path.
BUILTINS: tuple[Attribute, ...] = (
    Attribute("request.protocol", Type.STRING, Builtin(), AbsentDeny(), ("http", "grpc", "tcp")),
    Attribute("request.method", Type.STRING, Builtin(), AbsentDeny()),
    Attribute("request.path", Type.STRING, Builtin(), AbsentDeny()),
    Attribute("request.host", Type.STRING, Builtin(), AbsentDeny()),
    Attribute("destination.name", Type.STRING, Builtin(), AbsentValue("")),
    Attribute("destination.address", Type.IP, Builtin(), AbsentDeny()),
    Attribute("destination.port", Type.INT, Builtin(), AbsentDeny()),
    Attribute("process.uid", Type.INT, Builtin(), AbsentDeny()),
)
