"""The near end of a tunnel that a gateway gives: its keys, made here, and what its driver needs. Private keys stay."""

from pointsman.model.gateway import Given
from pointsman.model.tunnel import Kind
from pointsman.tunnels import keys
from pointsman.tunnels.levels import DEFAULT_CIPHERS
from pointsman.tunnels.ovpn_rules import clean_block
from pointsman.tunnels.port import OpenvpnSpec, Peer, Spec, WireguardSpec

_EVERYTHING = ("0.0.0.0/0", "::/0")
_KEEPALIVE = 10


def private_key(kind: Kind) -> str:
    """Return a new private key of this end."""
    return keys.wireguard_private() if kind is Kind.WIREGUARD else keys.certificate_key()


def request(kind: Kind, key: str, name: str) -> dict[str, str]:
    """Return what the gateway is told of a private key: its public half, or a signing request."""
    if kind is Kind.WIREGUARD:
        return {"kind": "wireguard", "public_key": keys.wireguard_public(key)}
    return {"kind": "openvpn", "csr": keys.signing_request(key, name)}


def spec(kind: Kind, key: str, given: Given, preshared: str = "") -> Spec:
    """Return what the driver of this kind makes the tunnel from. Raises ValueError where what was given will not do."""
    if kind is Kind.WIREGUARD:
        peer = Peer(given.public_key, given.endpoint, _EVERYTHING, _KEEPALIVE, preshared)
        return WireguardSpec(key, given.addresses, (peer,), given.mtu)
    settings = (
        ("client",),
        ("data-ciphers", DEFAULT_CIPHERS),
        ("remote-cert-tls", "server"),
        ("tls-version-min", "1.3"),
    )
    texts = (("cert", given.certificate), ("key", key), ("peer-fingerprint", given.fingerprint))
    blocks = tuple((name, _block(name, text)) for name, text in texts)
    return OpenvpnSpec((given.endpoint,), settings, blocks, given.mtu, given.addresses)


def _block(name: str, text: str) -> str:
    # what a gateway says must not become a directive of the daemon's configuration
    cleaned = clean_block(name, text)
    if isinstance(cleaned, tuple):
        raise ValueError(f"`{name}` {cleaned[0]}")
    return cleaned
