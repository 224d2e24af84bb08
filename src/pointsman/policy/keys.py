"""Is this a key set that can prove users? Public keys of asymmetric algorithms only (RFC 7517, RFC 7518, RFC 8037)."""

import json
import re
from collections.abc import Callable, Iterable

from pointsman.model.fault import Fault
from pointsman.model.problem import Place
from pointsman.policy.check import Findings

MAX_KEYS = 1024 * 1024
ReadFile = Callable[[str], bytes]
_ALGORITHMS = frozenset(["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"])
_PUBLIC = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}


def key_set(path: str, place: Place, read_file: ReadFile, found: Findings) -> str:
    """Return the key set in this file as JSON text, and note what is wrong with it."""
    try:
        data = read_file(path)
    except Fault as fault:
        found.add(
            place,
            "unreadable",
            f"key set `{path}` cannot be read: {fault.why}",
            "the path is relative to the policy file",
        )
        return ""
    if len(data) > MAX_KEYS:
        found.add(place, "too-large", f"key set `{path}` has more than 1 MB")
        return ""
    try:
        content = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        found.add(place, "key-set", f"key set `{path}` is not JSON: {error}")
        return ""
    keys = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(keys, list) or not keys:
        found.add(
            place, "key-set", f"key set `{path}` holds no keys", 'it looks like {"keys": [{"kty": …}]} (RFC 7517)'
        )
        return ""
    for number, key in enumerate(keys, 1):
        for what in _key_problems(key):
            found.add(place, "key-set", f"key {number} of `{path}` {what}")
    identifiers = [key.get("kid") for key in keys if isinstance(key, dict) and key.get("kid") is not None]
    if len(identifiers) != len(set(map(str, identifiers))):
        found.add(place, "key-set", f"key set `{path}` gives a `kid` twice")
    return json.dumps(content, sort_keys=True)


def _key_problems(key: object) -> Iterable[str]:
    if not isinstance(key, dict):
        yield "is not a mapping"
        return
    kind = key.get("kty")
    if kind not in _PUBLIC:
        yield f"is of type `{kind}`, not RSA, EC or OKP: only public keys can prove a user"
        return
    if any(part in key for part in ("d", "p", "q", "dp", "dq", "qi", "k")):
        yield "is a private key; give the public one"
    missing = [
        part
        for part in _PUBLIC[kind]
        if not isinstance(key.get(part), str) or not re.fullmatch(r"[A-Za-z0-9_-]+=*", key[part])
    ]
    if missing:
        yield f"lacks {', '.join(f'`{part}`' for part in missing)}"
    elif kind == "RSA" and len(key["n"].rstrip("=")) * 6 < 2048 - 5:
        yield "has fewer than 2048 bits"
    if key.get("alg") is not None and key["alg"] not in _ALGORITHMS:
        yield f"is for `{key['alg']}`, which is not a signature with a public key"
