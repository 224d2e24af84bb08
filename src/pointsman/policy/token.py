"""Whose token is this? Verifies identity tokens (RFC 7519) for explanations, by the same demands as the proxy's."""

import json
from collections.abc import Mapping

import jwt

from pointsman.model.policy import Identity

_ALGORITHMS = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512"),
    "OKP": ("EdDSA",),
}


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
    return dict(claims)
