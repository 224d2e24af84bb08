"""What is known of one request, and where each fact comes from."""

from collections.abc import Mapping
from dataclasses import dataclass

from pointsman.model.attribute import Value


@dataclass(frozen=True, slots=True)
class Absent:
    """No usable value: missing, outside the declared values, or two where one is due.

    Where it is known which values it could have, `among` names them: a decision then has to hold for each of these.
    """

    why: str
    among: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """The facts by attribute name. A name that is missing here counts as absent."""

    facts: Mapping[str, Value | Absent]


@dataclass(frozen=True, slots=True)
class Request:
    """One outbound request as the interception sees it, before any policy has looked at it.

    `headers` are in order, names in lower case, without pseudo headers. A plain TCP flow has `protocol` "tcp"
    and empty `method`, `host` and `path`. `uid` is the user id behind the socket as the kernel knows it.
    """

    protocol: str
    method: str
    host: str
    path: str
    headers: tuple[tuple[str, str], ...]
    address: str
    port: int
    uid: int | None
