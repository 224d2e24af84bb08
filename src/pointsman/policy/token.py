"""Whose token is this? Verifies identity tokens (RFC 7519) for explanations, by the same demands as the proxy's."""

import json
import math
from collections.abc import Mapping

import jwt
from jwt.utils import base64url_decode

from pointsman.model.policy import Identity

_ALGORITHMS = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512"),
    "OKP": ("EdDSA",),
}
_DEPTH = 100


def verified(token: str, identity: Identity, now: float) -> Mapping[str, object] | str:
    """Return the claims of a token, or why it proves nothing. `now` is in seconds since 1970."""
    try:
        header = jwt.get_unverified_header(token)
    except jwt.InvalidTokenError as error:
        return f"it is no token: {error}"
    named = header.get("kid")
    keys = [key for key in json.loads(identity.keys)["keys"] if named is None or key.get("kid") == named]
    if not keys:
        return f"no key has the id `{named}`"
    reasons = [_by_key(token, key, header.get("alg"), identity, now) for key in keys]
    return next((claims for claims in reasons if not isinstance(claims, str)), reasons[0])


def _by_key(
    token: str, key: Mapping[str, str], algorithm: object, identity: Identity, now: float
) -> Mapping[str, object] | str:
    allowed = [key["alg"]] if "alg" in key else list(_ALGORITHMS.get(key["kty"], ()))
    if algorithm not in allowed:
        return f"algorithm `{algorithm}` does not fit the key"
    try:
        claims = jwt.decode(
            token,
            jwt.PyJWK(dict(key), str(algorithm)),
            algorithms=allowed,
            audience=identity.audiences,
            issuer=identity.issuer,
            options={"require": ["exp", "iss", "aud"], "verify_exp": False, "verify_nbf": False, "verify_iat": False},
        )
    except jwt.InvalidTokenError as error:
        return str(error).lower()
    if not isinstance(claims["exp"], int | float) or now >= claims["exp"] + identity.skew:
        return "it has expired"
    if now + identity.skew < claims.get("nbf", 0):
        return "it is not valid yet"
    return _unreadable(token) or dict(claims)


def _unreadable(token: str) -> str:
    """Return why the proxy's JSON reader (protobuf's) refuses claims that Python's takes."""
    try:
        found = json.loads(base64url_decode(token.split(".")[1]), object_pairs_hook=_once)
        json.dumps(found, ensure_ascii=False).encode()
    except ValueError as error:
        return f"its claims cannot be read: {error}"
    waiting: list[tuple[object, int]] = [(found, 1)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, int | float) and not math.isfinite(_double(value)):
            return "its claims hold a number beyond all bounds"
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        if inner is not None and depth > _DEPTH:
            return f"its claims are more than {_DEPTH} levels deep"
        waiting += [(one, depth + 1) for one in inner or ()]
    return ""


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _double(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf
