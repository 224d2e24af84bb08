"""Which request header carries which fact inside the proxy.

Every name that starts with `x-pointsman-` is removed from what a client sends before anything is decided, and
from what leaves.
"""

from collections.abc import Iterable

from pointsman.model.attribute import Attribute, Builtin, Claim, Header, Type
from pointsman.model.formula import And, Atom, Formula, Not, Or
from pointsman.model.policy import Policy, Rule
from pointsman.policy.context import attributes_of
from pointsman.policy.holding import holder_attributes

OWN = "x-pointsman-"
PATH = OWN + "path"
ADDRESS = OWN + "address"
PORT = OWN + "port"
ENTRY = OWN + "entry"
USER_CLASS = OWN + "class"
PROTOCOL = OWN + "protocol"
CONNECTION = OWN + "connection"

# How each built-in header comes to its value. The order matters: a class is cut out of the entry.
SOURCES = {
    PATH: "%PATH(NQ)%",
    ADDRESS: "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%",
    PORT: "%DOWNSTREAM_LOCAL_PORT%",
    ENTRY: "%DOWNSTREAM_DIRECT_LOCAL_PORT%",
    USER_CLASS: f"%REQ({ENTRY}):3%",
    PROTOCOL: "%PROTOCOL% %REQ(:METHOD)% %REQ(CONTENT-TYPE)%",
    CONNECTION: "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
}

BUILTINS = {
    "request.method": ":method",
    "request.path": PATH,
    "request.host": ":authority",
    "destination.address": ADDRESS,
    "destination.port": PORT,
    "process.uid": USER_CLASS,
    "request.protocol": PROTOCOL,
}

# A call is gRPC only as HTTP/2 POST with the media type itself or one with a suffix (RFC 9110, 8.3.1).
GRPC = r"HTTP/2 POST (?i:application/grpc)(?:\+[^\s;,]+)?[ \t]*(?:;.*)?"


def header_of(attribute: Attribute) -> str | None:
    """Return the header in which the route tree finds this attribute; None where it is known without one."""
    source = attribute.source
    if isinstance(source, Claim):
        return claim_header(source.name)
    if isinstance(source, Header):
        return source.name
    if isinstance(source, Builtin):
        return BUILTINS.get(attribute.name)
    return None


def claim_header(claim: str) -> str:
    """Return the header for a claim's text. Different claims never share one."""
    return f"{OWN}claim-{_encoded(claim)}"


def json_header(claim: str) -> str:
    """Return the header for a claim with lists and objects as JSON, which in its text are Base64."""
    return f"{OWN}json-{_encoded(claim)}"


def _encoded(claim: str) -> str:
    return "".join(
        letter if letter.isascii() and (letter.islower() or letter.isdigit()) else f".{ord(letter):x}."
        for letter in claim
    )


def asked(policy: Policy) -> tuple[Attribute, ...]:
    """Return the attributes that some rule asks about, or that tell holders apart, by name."""
    names = _names(policy.rules)
    found = dict.fromkeys(one for one in attributes_of(policy) if one.name in names)
    return tuple(sorted({**found, **dict.fromkeys(holder_attributes(policy))}, key=lambda one: one.name))


def claims(policy: Policy) -> tuple[str, ...]:
    """Return the claims that some rule asks about."""
    return tuple(sorted({one.source.name for one in asked(policy) if isinstance(one.source, Claim)}))


def json_claims(policy: Policy) -> tuple[str, ...]:
    """Return those of the claims whose text alone does not tell whether it was text or a list."""
    texts = (Type.STRING, Type.STRINGS)
    return tuple(
        sorted({one.source.name for one in asked(policy) if isinstance(one.source, Claim) and one.type in texts})
    )


def needed(policy: Policy) -> tuple[str, ...]:
    """Return the built-in headers that must be set for this policy, in the order of setting them."""
    found = {BUILTINS[one.name] for one in asked(policy) if isinstance(one.source, Builtin) and one.name in BUILTINS}
    found |= {ADDRESS} | ({PORT} if any(one.ports for one in policy.destinations) else set())
    if USER_CLASS in found:
        found.add(ENTRY)
    if any(profile.shared for profile in policy.profiles):
        found.add(CONNECTION)
    return tuple(name for name in SOURCES if name in found)


def _names(rules: Iterable[Rule]) -> set[str]:
    found: set[str] = set()
    waiting: list[Formula] = [rule.when for rule in rules]
    while waiting:
        formula = waiting.pop()
        if isinstance(formula, Atom):
            found.add(formula.attribute)
        elif isinstance(formula, Not):
            waiting.append(formula.part)
        elif isinstance(formula, And | Or):
            waiting += formula.parts
    return found
