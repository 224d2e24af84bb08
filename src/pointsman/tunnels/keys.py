"""The private keys of a tunnel's ends, and what may be told of them: WireGuard's in base64, OpenVPN's in PEM."""

import base64

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.x509.oid import NameOID


def wireguard_private() -> str:
    """Return a new private key: X25519 (RFC 7748)."""
    return base64.b64encode(x25519.X25519PrivateKey.generate().private_bytes_raw()).decode()


def wireguard_public(private: str) -> str:
    """Return the public half of a private key. Raises ValueError where that is none."""
    key = x25519.X25519PrivateKey.from_private_bytes(base64.b64decode(private, validate=True))
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def certificate_key() -> str:
    """Return a new private key that a certificate can be made for: P-256, without a passphrase."""
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(*form).decode()


def signing_request(private: str, name: str = "") -> str:
    """Return the signing request (PKCS #10, RFC 2986), in PEM, for a key; whoever signs need not heed the name."""
    key = serialization.load_pem_private_key(private.encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("the key of a certificate is one of an elliptic curve")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    signed = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()
