"""The files of tunnels between the two hosts, with keys that are made anew each time."""

import base64
import datetime
import os
import re

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.contract.drivers.two_hosts import INNER, OUTER, Secrets, World


def wireguard_files(world: World, family: int) -> dict[str, Secrets]:
    pairs = {side: x25519.X25519PrivateKey.generate() for side in ("near", "far")}
    private = {side: base64.b64encode(key.private_bytes_raw()).decode() for side, key in pairs.items()}
    public = {side: base64.b64encode(key.public_key().public_bytes_raw()).decode() for side, key in pairs.items()}
    shared = base64.b64encode(os.urandom(32)).decode()
    files = {}
    for side, other in (("near", "far"), ("far", "near")):
        outer = OUTER[other][family]
        path = world.folder / f"{side}.conf"
        path.write_text(
            f"[Interface]\nPrivateKey = {private[side]}\nListenPort = 51820\nMTU = 1400\n"
            f"Address = {INNER[side][0]}/24, {INNER[side][1]}/64\nDNS = 192.0.2.1\n\n"
            f"[Peer]\nPublicKey = {public[other]}\nPresharedKey = {shared}\n"
            f"AllowedIPs = {INNER[other][0]}/32, {INNER[other][1]}/128\n"
            f"Endpoint = {f'[{outer}]' if ':' in outer else outer}:51820\nPersistentKeepalive = 1\n"
        )
        raw = (private[side], shared)
        files[side] = Secrets(str(path), (*raw, *(base64.b64decode(word).hex() for word in raw)))
    return files


def openvpn_files(world: World, family: int) -> dict[str, Secrets]:
    made = {side: certificate(side) for side in ("near", "far")}
    prints = {side: made[side][2] for side in made}
    server = (
        "dev tun0\ndev-type tun\nmode server\ntls-server\ntopology subnet\n"
        f"local {OUTER['far'][family]}\nport 1194\nproto {('udp4', 'udp6')[family]}\n"
        "server 10.71.0.0 255.255.255.0\nserver-ipv6 fd71::/64\n"
        "dh none\nkeepalive 1 10\n"
        'push "redirect-gateway def1 ipv6"\npush "dhcp-option DNS 192.0.2.66"\n'
        'push "route 198.51.100.0 255.255.255.0"\n'
        'push "compress stub-v2"\npush "tun-mtu 1300"\nverb 3\n'
        f"<cert>\n{made['far'][0]}</cert>\n<key>\n{made['far'][1]}</key>\n"
        f"<peer-fingerprint>\n{prints['near']}\n</peer-fingerprint>\n"
    )
    client = (
        f"client\ndev tun\nremote {OUTER['far'][family]} 1194 udp\nredirect-gateway def1\n"
        "tls-version-min 1.3\nverb 4\n"
        f"<cert>\n{made['near'][0]}</cert>\n<key>\n{made['near'][1]}</key>\n"
        f"<peer-fingerprint>\n{prints['far']}\n</peer-fingerprint>\n"
    )
    files = {}
    for side, text in (("far", server), ("near", client)):
        path = world.folder / f"{side}.ovpn"
        path.write_text(text)
        files[side] = Secrets(str(path), tuple(made[side][1].splitlines()[1:-1]))
    return files


def certificate(name: str) -> tuple[str, str, str]:
    """Return a certificate, its key, and its fingerprint as OpenVPN writes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    usage = ExtendedKeyUsageOID.SERVER_AUTH if name == "far" else ExtendedKeyUsageOID.CLIENT_AUTH
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.ExtendedKeyUsage([usage]), False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    digits = made.fingerprint(hashes.SHA256()).hex().upper()
    return made.public_bytes(serialization.Encoding.PEM).decode(), pem, ":".join(re.findall("..", digits))
