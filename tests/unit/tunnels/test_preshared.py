"""The key that both ends of a tunnel work out."""

import base64
import hashlib
import hmac

from pointsman.tunnels.preshared import preshared_key

SECRET = bytes(range(32))
NODE, GATEWAY = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))


def test_it_is_hkdf_of_the_secret_for_this_tunnel() -> None:
    about = b"pointsman wireguard psk\0gw-1\0" + b"\1" * 32 + b"\0" + b"\2" * 32
    drawn = hmac.new(bytes(32), SECRET, hashlib.sha256).digest()  # RFC 5869, 2.2 and 2.3
    expanded = hmac.new(drawn, about + b"\1", hashlib.sha256).digest()

    assert preshared_key(SECRET, "gw-1", NODE, GATEWAY) == base64.b64encode(expanded).decode()


def test_every_part_makes_another_key() -> None:
    found = {
        preshared_key(secret, tunnel, *keys)
        for secret in (SECRET, SECRET[::-1])
        for tunnel in ("gw-1", "gw-2")
        for keys in ((NODE, GATEWAY), (GATEWAY, NODE), (NODE, NODE))
    }

    assert len(found) == 12
