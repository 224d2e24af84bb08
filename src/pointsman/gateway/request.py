"""Reads what a node asks for. Everything that is wrong with it is told at once, and no key is ever repeated."""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable
from typing import Annotated, Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from pydantic import (
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import ErrorDetails

from pointsman.gateway.admission import Reason, Refused
from pointsman.gateway.grant import Request
from pointsman.model.profile import Qos
from pointsman.model.tunnel import Kind

NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
LONGEST_TTL = 86_400
MOST_REASONS = 20
Bandwidth = Annotated[StrictInt, Field(ge=8_000, le=1_000_000_000_000)]
Seconds = Annotated[StrictInt, Field(ge=1, le=LONGEST_TTL)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    bandwidth: Bandwidth | None = None
    qos: Literal["interactive", "default", "bulk"] = "default"
    ttl: Seconds


class Wireguard(_Asked):
    """A WireGuard tunnel: the public key of the node's end, and whether both ends mix in a key that they share."""

    kind: Literal["wireguard"]
    public_key: Annotated[StrictStr, Field(max_length=100)]
    preshared: StrictBool = False


class Openvpn(_Asked):
    """An OpenVPN tunnel: a signing request (PKCS #10) for the key of the node's end."""

    kind: Literal["openvpn"]
    csr: Annotated[StrictStr, Field(max_length=10_000)]


class Renewal(BaseModel):
    """Which tunnels are still wanted, and for how many seconds more."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    ids: Annotated[tuple[StrictStr, ...], Field(max_length=10_000), FailFast()]
    ttl: Seconds


_TUNNEL: TypeAdapter[Wireguard | Openvpn] = TypeAdapter(Annotated[Wireguard | Openvpn, Field(discriminator="kind")])
_RENEWAL = TypeAdapter(Renewal)


def read_request(owner: str, name: str, body: bytes, own: str, shared: Callable[[str], str]) -> Request | Refused:
    """Return what a node asks for, or all that is wrong with it.

    `own` is the gateway's public key, which can be nobody else's: WireGuard ignores such a peer. `shared` gives the
    key in base64 that is mixed into the tunnel of a public key; empty where node and gateway share no secret.
    """
    try:
        asked = _TUNNEL.validate_json(body)
    except ValidationError as error:
        return _misfits(error)
    if isinstance(asked, Wireguard):
        return _wireguard(owner, name, asked, own, shared)
    return openvpn(owner, name, asked.csr, asked.bandwidth, Qos(asked.qos), asked.ttl)


def read_renewal(body: bytes) -> Renewal | Refused:
    """Return which tunnels a node wants to keep, or all that is wrong with what it sent."""
    try:
        return _RENEWAL.validate_json(body)
    except ValidationError as error:
        return _misfits(error)


def wireguard(
    owner: str, name: str, public: str, preshared: str, bandwidth: int | None, qos: Qos, ttl: int | None
) -> Request:
    """Return the request for a WireGuard tunnel; both keys are in base64, the second empty for none."""
    digest = _digest(Kind.WIREGUARD, public, preshared, bandwidth, qos, ttl)
    return Request(owner, name, Kind.WIREGUARD, public, bandwidth, qos, ttl, digest, preshared)


def openvpn(owner: str, name: str, csr: str, bandwidth: int | None, qos: Qos, ttl: int | None) -> Request | Refused:
    """Return the request for an OpenVPN tunnel, or what is wrong with the signing request."""
    key = signed_key(csr)
    if key is None:
        what = "`csr` is no signing request in PEM for a P-256, P-384 or Ed25519 key, signed by that key"
        return Refused((Reason("bad-key", what),))
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    # the key is part of the name: whoever held an earlier tunnel of this id is somebody else
    identity = "t-" + hashlib.sha256(json.dumps([owner, name]).encode() + spki).hexdigest()[:40]
    digest = _digest(Kind.OPENVPN, spki.hex(), "", bandwidth, qos, ttl)
    return Request(owner, name, Kind.OPENVPN, identity, bandwidth, qos, ttl, digest, csr=csr)


def signed_key(csr: str) -> ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | None:
    """Return the key of a signing request; None where it is none, not signed by that key, or of an unfit kind."""
    try:
        read = x509.load_pem_x509_csr(csr.encode())
        key = read.public_key()
        sound = read.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    curves = (ec.SECP256R1, ec.SECP384R1)
    fit = isinstance(key, ed25519.Ed25519PublicKey) or (
        isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, curves)
    )
    return key if sound and fit and isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) else None


def _wireguard(owner: str, name: str, asked: Wireguard, own: str, shared: Callable[[str], str]) -> Request | Refused:
    if not _is_key(asked.public_key):
        return Refused((Reason("bad-key", "`public_key` is not a key: 32 bytes in base64, not all zero"),))
    if asked.public_key == own:
        return Refused((Reason("bad-key", "`public_key` is the gateway's; make one for the node's end"),))
    preshared = shared(asked.public_key) if asked.preshared else ""
    if asked.preshared and not preshared:
        return Refused((Reason("no-secret", "`preshared`: this gateway shares no secret with this node"),))
    qos = Qos(asked.qos)
    return wireguard(owner, name, asked.public_key, preshared, asked.bandwidth, qos, asked.ttl)


def _is_key(text: str) -> bool:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(raw) == 32 and any(raw) and base64.b64encode(raw).decode() == text


def _digest(kind: Kind, *said: object) -> str:
    return hashlib.sha256(json.dumps([kind, *said]).encode()).hexdigest()


def _misfits(error: ValidationError) -> Refused:
    count = error.error_count()
    if count > MOST_REASONS:  # to name so many holds up everybody, and no node means them
        return Refused((Reason("malformed", f"{count} things are wrong with it"),))
    return Refused(tuple(_reason(found) for found in error.errors(include_url=False, include_input=False)))


def _reason(found: ErrorDetails) -> Reason:
    kinds = {str(kind) for kind in (Kind.WIREGUARD, Kind.OPENVPN)}
    place = ".".join(str(step) for step in found["loc"] if step not in kinds)
    message = found["msg"][:1].lower() + found["msg"][1:]
    label = "kind-not-offered" if found["type"] == "union_tag_invalid" else "malformed"
    return Reason(label, f"`{place}`: {message}" if place else message)
