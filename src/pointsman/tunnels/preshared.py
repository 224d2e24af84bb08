"""The pre-shared key of one WireGuard tunnel, worked out alike on both ends, so that it never travels.

Whoever records the tunnel and what was asked of the gateway, and breaks both key exchanges one day, still lacks the
secret that node and gateway were given out of band.
"""

import base64

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_LABEL = b"pointsman wireguard psk"
_SIZE = 32


def preshared_key(secret: bytes, tunnel: str, node: str, gateway: str) -> str:
    """Return the key in base64, by HKDF-SHA256 (RFC 5869) for a tunnel's id and both public keys, which are base64."""
    about = b"\0".join((_LABEL, tunnel.encode(), base64.b64decode(node), base64.b64decode(gateway)))
    return base64.b64encode(HKDF(hashes.SHA256(), _SIZE, salt=None, info=about).derive(secret)).decode()
