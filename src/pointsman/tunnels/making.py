"""The near end of a tunnel that a gateway gives: its keys, made here, and what its driver needs. Private keys stay."""

import base64

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.x509.oid import NameOID

from pointsman.model.gateway import Given
from pointsman.model.tunnel import Kind
from pointsman.tunnels.ovpn_rules import clean_block
from pointsman.tunnels.port import OpenvpnSpec, Peer, Spec, WireguardSpec

_EVERYTHING = ("0.0.0.0/0", "::/0")
_KEEPALIVE = 10
_CIPHERS = "AES-256-GCM:CHACHA20-POLY1305"


def private_key(kind: Kind) -> str:
    """Return a new private key: X25519 (RFC 7748) in base64 for WireGuard, P-256 in PEM for OpenVPN."""
    if kind is Kind.WIREGUARD:
        return base64.b64encode(x25519.X25519PrivateKey.generate().private_bytes_raw()).decode()
    key = ec.generate_private_key(ec.SECP256R1())
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return text.decode()


def request(kind: Kind, key: str, name: str) -> dict[str, str]:
    """Return what the gateway is told of a private key: its public half, or a signing request (RFC 2986)."""
    if kind is Kind.WIREGUARD:
        own = x25519.X25519PrivateKey.from_private_bytes(base64.b64decode(key))
        public = base64.b64encode(own.public_key().public_bytes_raw()).decode()
        return {"kind": "wireguard", "public_key": public}
    signer = serialization.load_pem_private_key(key.encode(), None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise TypeError("the key of an OpenVPN tunnel is one of an elliptic curve")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signed = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(signer, hashes.SHA256())
    return {"kind": "openvpn", "csr": signed.public_bytes(serialization.Encoding.PEM).decode()}


def spec(kind: Kind, key: str, given: Given, preshared: str = "") -> Spec:
    """Return what the driver of this kind makes the tunnel from. Raises ValueError where what was given will not do."""
    if kind is Kind.WIREGUARD:
        peer = Peer(given.public_key, given.endpoint, _EVERYTHING, _KEEPALIVE, preshared)
        return WireguardSpec(key, given.addresses, (peer,), given.mtu)
    settings = (("client",), ("data-ciphers", _CIPHERS), ("remote-cert-tls", "server"), ("tls-version-min", "1.3"))
    texts = (("cert", given.certificate), ("key", key), ("peer-fingerprint", given.fingerprint))
    return OpenvpnSpec(
        (given.endpoint,), settings, tuple((name, _block(name, text)) for name, text in texts), given.mtu
    )


def _block(name: str, text: str) -> str:
    # what a gateway says must not become a directive of the daemon's configuration
    cleaned = clean_block(name, text)
    if isinstance(cleaned, tuple):
        raise ValueError(f"`{name}` {cleaned[0]}")
    return cleaned
