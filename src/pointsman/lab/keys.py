"""Keys of one lab's token issuer, made anew for each: nothing in the repository is a secret.

Identity tokens are signed by RS256 or ES256 (RFC 7518), public halves in a JWK set.
"""

import base64
import json
import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa


def issue(folder: Path, public: Path) -> None:
    """Make the token issuer's keys: private ones into `folder`, the JWK set (RFC 7517) into the file `public`."""
    rs256 = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    es256 = ec.generate_private_key(ec.SECP256R1())
    write_private(folder / "RS256.pem", _pem(rs256).decode())
    write_private(folder / "ES256.pem", _pem(es256).decode())
    rsa_public = rs256.public_key().public_numbers()
    ec_public = es256.public_key().public_numbers()
    keys = [
        {"kty": "RSA", "kid": "RS256", "use": "sig", "alg": "RS256", "n": _number(rsa_public.n), "e": "AQAB"},
        {
            "kty": "EC",
            "kid": "ES256",
            "use": "sig",
            "alg": "ES256",
            "crv": "P-256",
            "x": _number(ec_public.x, 32),
            "y": _number(ec_public.y, 32),
        },
    ]
    public.write_text(json.dumps({"keys": keys}, indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, from the first byte on."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _number(value: int, size: int = 0) -> str:
    raw = value.to_bytes(size or (value.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
