import pytest

from pointsman.model.profile import Level
from pointsman.tunnels.levels import Given, level_given
from pointsman.tunnels.port import DirectSpec
from tests.unit.tunnels.samples import FINGERPRINT, OPENVPN, SHARED, WIREGUARD, openvpn, pem, wireguard

PINNED = OPENVPN.replace(f"<ca>\n{pem('CERTIFICATE')}</ca>", f"peer-fingerprint {FINGERPRINT}")
SECOND = f"[Peer]\nPublicKey = {SHARED}\nAllowedIPs = fd00::/8\nEndpoint = 203.0.113.7:1\n"


def test_wireguard_is_strong_and_with_a_shared_key_for_every_peer_quantum() -> None:
    shared = WIREGUARD + f"PresharedKey = {SHARED}\n"

    assert level_given(wireguard().spec) == Given(Level.STRONG, ("a `PresharedKey` for every peer",))
    assert level_given(wireguard(shared).spec) == Given(Level.QUANTUM)
    assert level_given(wireguard(shared + SECOND).spec).level is Level.STRONG


def test_direct_gives_nothing() -> None:
    assert level_given(DirectSpec("eth0")).level is Level.NONE


@pytest.mark.parametrize(
    ("text", "level"),
    [
        (OPENVPN, Level.ENCRYPTED),
        (OPENVPN.replace("remote-cert-tls server\n", ""), Level.NONE),
        (OPENVPN.replace("remote-cert-tls server\n", "verify-x509-name gw name\n"), Level.ENCRYPTED),
        (OPENVPN + "data-ciphers AES-128-GCM:AES-256-GCM\n", Level.ENCRYPTED),
        (OPENVPN + "data-ciphers AES-256-GCM:AES-256-CBC\n", Level.NONE),
        (OPENVPN + "data-ciphers AES-256-GCM:none\n", Level.NONE),
        (OPENVPN + "tls-cipher TLS-RSA-WITH-AES-256-GCM-SHA384\n", Level.NONE),
        (OPENVPN + "tls-cipher TLS-ECDHE-ECDSA-WITH-AES-256-GCM-SHA384\n", Level.ENCRYPTED),
        (OPENVPN + "tls-version-min 1.3\n", Level.ENCRYPTED),
        (PINNED, Level.ENCRYPTED),
        (PINNED + "tls-version-min 1.3\n", Level.STRONG),
        (PINNED + "tls-version-min 1.3\ndata-ciphers AES-128-GCM\n", Level.ENCRYPTED),
        (PINNED + "tls-version-min 1.3 or-highest\n", Level.ENCRYPTED),
        (PINNED + f"tls-version-min 1.3\n<tls-crypt>\n{pem('OpenVPN Static key V1')}</tls-crypt>\n", Level.STRONG),
    ],
)
def test_openvpn_gives_what_its_file_says(text: str, level: Level) -> None:
    assert level_given(openvpn(text).spec).level is level
