"""Keys and certificates of one lab, made anew for each: nothing in the repository is a secret.

WireGuard keys are X25519 (RFC 7748) in Base64; OpenVPN ends know each other by the SHA-256 fingerprints of their
self-signed certificates; identity tokens are signed by RS256 or ES256 (RFC 7518), public halves in a JWK set.
"""

import base64
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True, slots=True)
class WireguardKeys:
    """One end's private and public key, and the key that both ends share."""

    private: bytes
    public: bytes


@dataclass(frozen=True, slots=True)
class Certificate:
    """A self-signed certificate with its key, in PEM, and its SHA-256 fingerprint as OpenVPN writes it."""

    certificate: str
    key: str
    fingerprint: str


def wireguard_keys() -> WireguardKeys:
    """Make a WireGuard key pair."""
    key = x25519.X25519PrivateKey.generate()
    return WireguardKeys(key.private_bytes_raw(), key.public_key().public_bytes_raw())


def base64_text(key: bytes) -> str:
    """Return a key as wg-quick files have it."""
    return base64.b64encode(key).decode()


def certificate(name: str, *, server: bool) -> Certificate:
    """Make a self-signed P-256 certificate for one end of an OpenVPN tunnel, valid for 30 days."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Certificate(
        made.public_bytes(serialization.Encoding.PEM).decode(),
        _pem(key).decode(),
        made.fingerprint(hashes.SHA256()).hex(":").upper(),
    )


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


def _key_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_agreement=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
