"""What is known of a request? Reads the facts that a policy asks about from one request, and trusts nothing else."""

from collections.abc import Mapping

import re2

from pointsman.model.attribute import BUILTINS, LARGEST, Attribute, Builtin, Claim, Header, Type, Value
from pointsman.model.context import Absent, Context, Request
from pointsman.model.decision import Malformed, Misdirected
from pointsman.model.policy import Policy
from pointsman.policy.destination import canonical_address, canonical_host, choose, reachable
from pointsman.policy.path import is_normal, normal

_INT = re2.compile(r"-?[1-9][0-9]{0,15}|0")


def read(
    request: Request, policy: Policy, claims: Mapping[str, object] | None = None
) -> Context | Malformed | Misdirected:
    """Return the context of a request. `claims` are those of its token, if that was verified."""
    host = ""
    if request.protocol != "tcp":
        host = canonical_host(request.host)
        if not host:
            return Malformed(f"`{request.host}` is not a host name or address with an optional port")
    sent = request.path.split("?", 1)[0]
    raw = any(destination.raw_path for destination in policy.destinations)
    path = sent if raw or request.protocol == "tcp" else normal(sent)
    if request.protocol != "tcp" and not path:
        return Malformed(f"path `{sent}` has no normal form")
    facts: dict[str, Value | Absent] = {}
    for attribute in policy.attributes:
        match attribute.source:
            case Header(name):
                lines = [value.strip(" \t") for header, value in request.headers if header == name]
                if attribute.type is not Type.STRINGS and (len(lines) > 1 or any("," in line for line in lines)):
                    return Malformed(f"header `{name}` has two values where one is due")
                facts[attribute.name] = parse(attribute, ",".join(lines)) if lines else Absent(f"no header `{name}`")
            case Claim(name):
                facts[attribute.name] = _claimed(attribute, name, claims)
    address = canonical_address(request.address)
    chosen = choose(policy.destinations, host, address, request.port)
    if not isinstance(chosen, Absent) and chosen.by_host and not reachable(chosen.destination, address):
        return Misdirected(chosen.destination.name, address)
    as_sent = not isinstance(chosen, Absent) and chosen.destination.raw_path
    if raw and request.protocol != "tcp" and not as_sent and not is_normal(path):
        return Malformed(f"path `{path}` is not in its normal form")
    gone = Absent("a plain TCP flow has none")
    http = request.protocol != "tcp"
    facts |= {
        "request.protocol": request.protocol,
        "request.method": request.method if http else gone,
        "request.path": path if http else gone,
        "request.host": host if http else gone,
        "destination.name": chosen if isinstance(chosen, Absent) else chosen.destination.name,
        "destination.address": address,
        "destination.port": request.port,
        "process.uid": Absent("no user is known") if request.uid is None else request.uid,
    }
    return Context(facts)


def attributes_of(policy: Policy) -> tuple[Attribute, ...]:
    """Return all attributes that the rules may ask about: the declared ones and the built-in ones."""
    declared = {attribute.name for attribute in policy.attributes}
    return (*policy.attributes, *(attribute for attribute in BUILTINS if attribute.name not in declared))


def usable(attribute: Attribute, value: Value | Absent) -> Value | Absent:
    """Return the value if the attribute can have it: of its type, not empty, among the declared ones."""
    if isinstance(value, Absent):
        return value
    if not _typed(attribute.type, value):
        return Absent(f"not of type {attribute.type}")
    if value == "" and not isinstance(attribute.source, Builtin):
        return Absent("empty")
    if attribute.values is not None:
        for part in value if isinstance(value, tuple) else (value,):
            if part not in attribute.values:
                return Absent(f"`{part}` is not a declared value")
    return value


def parse(attribute: Attribute, text: str) -> Value | Absent:
    """Read a value from the text of a header."""
    value: Value | Absent = text
    match attribute.type:
        case Type.INT:
            value = int(text) if _INT.fullmatch(text) and abs(int(text)) <= LARGEST else Absent("not a whole number")
        case Type.BOOL:
            value = {"true": True, "false": False}.get(text, Absent("neither `true` nor `false`"))
        case Type.IP:
            value = text if _is_address(text) else Absent("not an address")
        case Type.STRINGS:
            value = tuple(part.strip(" \t") for part in text.split(",") if part.strip(" \t")) or Absent("empty")
    return usable(attribute, value)


def _claimed(attribute: Attribute, name: str, claims: Mapping[str, object] | None) -> Value | Absent:
    if claims is None:
        return Absent("no verified token")
    claim = claims.get(name)
    match claim:
        case None:
            return Absent(f"no claim `{name}`")
        case list() if attribute.type is Type.STRINGS:
            members = tuple(member for member in claim if isinstance(member, str))
            return usable(attribute, members) if len(members) == len(claim) else Absent("not a list of strings")
        case str() | bool() | int() | float() if attribute.type is not Type.STRINGS:
            text = _written(claim)
            whole = attribute.type is Type.INT and text.startswith("-")
            return parse(attribute, text.removesuffix(".000000") if whole else text)
    return Absent(f"claim `{name}` is not of type {attribute.type}")


def _written(claim: str | bool | float) -> str:
    """Return the text of a claim as Envoy's jwt_authn writes it: there every number is a double."""
    if isinstance(claim, str):
        return claim
    if isinstance(claim, bool):
        return str(claim).lower()
    number = float(claim)
    return str(int(number)) if number.is_integer() and 0 <= number < 2**64 else f"{number:f}"


def _typed(kind: Type, value: Value) -> bool:
    match kind:
        case Type.INT:
            return isinstance(value, int) and not isinstance(value, bool)
        case Type.BOOL:
            return isinstance(value, bool)
        case Type.STRINGS:
            return isinstance(value, tuple)
    return isinstance(value, str)


def _is_address(text: str) -> bool:
    return bool(canonical_address(text))
