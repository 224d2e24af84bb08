"""The attributes and the identity that a policy declares: from the document to the model, with all that is wrong."""

from itertools import pairwise
from typing import Any

from pointsman.model.attribute import (
    BUILTINS,
    Absent,
    AbsentDeny,
    AbsentValue,
    Attribute,
    Claim,
    Header,
    NodeFact,
    Source,
    Type,
    Value,
)
from pointsman.model.policy import Identity
from pointsman.model.problem import Place
from pointsman.policy import schema
from pointsman.policy.check import Findings
from pointsman.policy.document import Document
from pointsman.policy.keys import ReadFile, key_set
from pointsman.policy.literal import address_doubt
from pointsman.policy.node import describe

_FROM_TRANSPORT = frozenset(
    [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "content-length",
        "expect",
        "forwarded",
        "x-real-ip",
    ]
)
_OURS = ("x-pointsman-", "x-envoy-", "x-forwarded-")
_KEYWORDS = frozenset(
    [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "false",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "package",
        "namespace",
        "null",
        "return",
        "true",
        "var",
        "void",
        "while",
    ]
)
_RESERVED = ("process", "destination", "external")
_PYTHON = {Type.STRING: str, Type.IP: str, Type.INT: int, Type.BOOL: bool}


def attributes(policy: schema.PolicyDocument, document: Document, found: Findings) -> tuple[Attribute, ...]:
    """Return the declared attributes. One with a problem is there too, so that rules about it are still checked."""
    builtin = {attribute.name for attribute in BUILTINS} | {"operation"}
    declared: list[Attribute] = []
    for name, spec in policy.attributes.items():
        place = document.find("attributes", name, key=True)
        if name in builtin:
            found.add(place, "reserved-name", f"`{name}` is built in and cannot be declared")
            continue
        _check_name(name, place, found)
        source = _source(name, spec, policy, document, found)
        kind = Type(spec.type)
        declared.append(
            Attribute(
                name,
                kind,
                source,
                _absent(name, spec, kind, document, found),
                _values(name, spec, kind, document, found),
            )
        )
    for name in policy.catalogue:
        place = document.find("catalogue", name, key=True)
        _check_name(name, place, found)
        if not name.startswith("data."):
            found.add(
                place, "reserved-name", f"`{name}` cannot come from a catalogue", "a catalogue gives `data.` attributes"
            )
        if name in policy.attributes:
            found.add(
                place,
                "duplicate-name",
                f"attribute `{name}` is declared twice",
                f"first at {document.find('attributes', name, key=True)}",
            )
    names = sorted({*policy.attributes, *policy.catalogue, *builtin})
    for shorter, longer in pairwise(names):
        if longer.startswith(shorter + "."):
            section = "attributes" if longer in policy.attributes else "catalogue"
            found.add(
                document.find(section, longer, key=True),
                "reserved-name",
                f"`{longer}` cannot stand below the attribute `{shorter}`",
            )
    return tuple(declared)


def identity(
    policy: schema.PolicyDocument, document: Document, read_file: ReadFile, found: Findings
) -> Identity | None:
    """Return how users are proven, with the key set read and checked."""
    if policy.identity is None:
        return None
    jwt = policy.identity.jwt
    header = jwt.header.lower()
    if header in _FROM_TRANSPORT - {"proxy-authorization"} or header.startswith(_OURS):
        found.add(
            document.find("identity", "jwt", "header"), "forbidden-header", f"header `{header}` cannot carry a token"
        )
    usual = header == "authorization"
    prefix = jwt.prefix if jwt.prefix is not None else ("Bearer " if usual else "")
    forward = jwt.forward if jwt.forward is not None else usual
    keys = key_set(jwt.keys, document.find("identity", "jwt", "keys"), read_file, found)
    return Identity(header, prefix, jwt.issuer, tuple(jwt.audiences), keys, forward, jwt.skew)


def _check_name(name: str, place: Place, found: Findings) -> None:
    first, *rest = name.split(".")
    if first in _RESERVED:
        found.add(place, "reserved-name", f"`{first}.` attributes are built in", "use another namespace, like `app.`")
    for word in (first, *rest):
        if word in _KEYWORDS:
            found.add(place, "reserved-name", f"`{word}` in `{name}` is a word of CEL")


def _source(
    name: str, spec: schema.AttributeSpec, policy: schema.PolicyDocument, document: Document, found: Findings
) -> Source:
    place = document.find("attributes", name, key=True)
    given = [field for field in ("claim", "header", "node") if getattr(spec, field) is not None]
    if len(given) != 1:
        what = "no source" if not given else "more than one source"
        found.add(place, "source", f"attribute `{name}` has {what}", "give it one of `claim:`, `header:` and `node:`")
    if name.startswith("user.") and given not in ([], ["claim"]):
        found.add(
            place,
            "source",
            f"`{name}` must come from a claim",
            "a user is proven by a token; for other facts use another namespace",
        )
    if name.startswith("node.") != (given == ["node"]) and given:
        found.add(
            place,
            "source",
            f"`{name}` and its source do not fit",
            "facts of the node are named `node.…`, and nothing else is",
        )
    elif spec.node is not None and name != f"node.{spec.node}":
        found.add(place, "source", f"`{name}` is the node's fact `{spec.node}`", f"name it `node.{spec.node}`")
    if spec.claim is not None and policy.identity is None and "identity" not in document.root.entries:
        found.add(place, "source", f"`{name}` comes from a token, and `identity:` does not say how tokens are verified")
    if spec.header is not None:
        _check_header(name, spec.header.lower(), spec, policy, document, found)
        return Header(spec.header.lower())
    if spec.trust is not None:
        found.add(
            document.find("attributes", name, "trust"), "source", "`trust: declared` is for attributes from a header"
        )
    return NodeFact() if spec.node is not None else Claim(spec.claim or "")


def _check_header(
    name: str,
    header: str,
    spec: schema.AttributeSpec,
    policy: schema.PolicyDocument,
    document: Document,
    found: Findings,
) -> None:
    place = document.find("attributes", name, "header")
    if spec.trust is None:
        hint = "write `trust: declared` if every application behind this policy may say it"
        found.add(
            place, "untrusted-header", f"`{name}` comes from header `{header}`, which any application can set", hint
        )
    if header in _FROM_TRANSPORT or header.startswith(_OURS):
        found.add(
            place,
            "forbidden-header",
            f"header `{header}` cannot be a fact",
            "it belongs to the transport, or proxies on the way may set it",
        )
    identity_header = policy.identity.jwt.header.lower() if policy.identity else ""
    if header == identity_header:
        found.add(
            place,
            "forbidden-header",
            f"header `{header}` carries the identity token",
            "use `claim:` for what the token says",
        )


def _absent(name: str, spec: schema.AttributeSpec, kind: Type, document: Document, found: Findings) -> Absent:
    value: Any = spec.absent
    place = document.find("attributes", name, "absent")
    if value == "deny":
        return AbsentDeny()
    if kind is Type.STRINGS:
        if isinstance(value, list):
            return AbsentValue(tuple(value))
    elif isinstance(value, (str, int)) and type(value) is _PYTHON[kind]:
        if kind is Type.IP and isinstance(value, str) and (problem := address_doubt(value)):
            found.add(place, problem.label, problem.what, problem.hint)
        return AbsentValue(value)
    found.add(
        place,
        "wrong-type",
        f"`{name}` is of type {kind}, and {describe(value)} is not",
        "give a value of its type, or `deny`",
    )
    return AbsentDeny()


def _values(
    name: str, spec: schema.AttributeSpec, kind: Type, document: Document, found: Findings
) -> tuple[Value, ...] | None:
    if spec.values is None:
        return None
    place = document.find("attributes", name, "values")
    if kind not in (Type.STRING, Type.INT):
        found.add(
            place, "wrong-type", f"`values` is for attributes of type string and int, and `{name}` is of type {kind}"
        )
        return None
    usable: dict[Value, None] = {}
    for position, value in enumerate(spec.values):
        place = document.find("attributes", name, "values", position)
        if type(value) is not _PYTHON[kind]:
            found.add(place, "wrong-type", f"`{name}` is of type {kind}, and {describe(value)} is not")
        elif value in usable:
            found.add(place, "duplicate-name", f"value `{value}` is given twice")
        elif isinstance(value, str) and (
            not value or value != value.strip() or "," in value or not value.isprintable()
        ):
            found.add(
                place,
                "never-holds",
                f"`{name}` never has the value `{value}`",
                "values have no comma, no space at their ends, and are not empty",
            )
        else:
            usable[value] = None
    return tuple(usable)
