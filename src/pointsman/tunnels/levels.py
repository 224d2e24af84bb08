"""Which encryption level a tunnel really gives, from its file alone. The levels are defined in `model.profile`."""

from dataclasses import dataclass

from pointsman.model.profile import Level
from pointsman.tunnels.port import OpenvpnSpec, Spec, WireguardSpec

# What the daemon is told to accept where the file does not say
DEFAULT_CIPHERS = "AES-256-GCM:CHACHA20-POLY1305"
DEFAULT_TLS = "1.2"

_AEAD = {"AES-128-GCM": 128, "AES-192-GCM": 192, "AES-256-GCM": 256, "CHACHA20-POLY1305": 256}
_EPHEMERAL = ("TLS-DHE-", "TLS-ECDHE-", "DHE-", "ECDHE-", "TLS_AES_", "TLS_CHACHA20_")


@dataclass(frozen=True, slots=True)
class Given:
    """The level that a tunnel gives, and what it lacks for the next higher one."""

    level: Level
    lacks: tuple[str, ...] = ()


def level_given(spec: Spec) -> Given:
    """Return the highest level of which every part is met."""
    if isinstance(spec, WireguardSpec):
        lacking = _wireguard(spec)
    elif isinstance(spec, OpenvpnSpec):
        lacking = _openvpn(spec)
    else:
        lacking = _direct()
    reached = Level.NONE
    for level in (Level.ENCRYPTED, Level.STRONG, Level.QUANTUM):
        if lacking.get(level):
            return Given(reached, lacking[level])
        reached = level
    return Given(reached)


def _wireguard(spec: WireguardSpec) -> dict[Level, tuple[str, ...]]:
    # The protocol itself is STRONG: ChaCha20-Poly1305, pinned keys on both ends, a new key exchange every two minutes
    bare = any(not peer.preshared_key for peer in spec.peers)
    return {Level.QUANTUM: ("a `PresharedKey` for every peer",) if bare else ()}


def _openvpn(spec: OpenvpnSpec) -> dict[Level, tuple[str, ...]]:
    ciphers = (spec.setting("data-ciphers") or (DEFAULT_CIPHERS,))[0].upper().split(":")
    suites = [
        suite
        for name in ("tls-cipher", "tls-ciphersuites")
        for words in (spec.setting(name),)
        if words
        for suite in words[0].upper().split(":")
    ]
    pinned = spec.has_block("peer-fingerprint")
    named = spec.setting("remote-cert-tls") is not None or spec.setting("verify-x509-name") is not None
    tls = spec.setting("tls-version-min") or (DEFAULT_TLS,)
    encrypted = (
        *_lack(all(cipher in _AEAD for cipher in ciphers), "only AEAD ciphers in `data-ciphers`"),
        *_lack(all(suite.startswith(_EPHEMERAL) for suite in suites), "only suites with (EC)DHE in `tls-cipher`"),
        *_lack(pinned or named, "`remote-cert-tls server`, `verify-x509-name` or `peer-fingerprint`"),
    )
    strong = (
        *_lack(all(_AEAD.get(cipher) == 256 for cipher in ciphers), "only 256-bit ciphers in `data-ciphers`"),
        *_lack(pinned, "`peer-fingerprint`, which pins the gateway's certificate"),
        *_lack(tls == ("1.3",), "`tls-version-min 1.3`"),
    )
    # `tls-crypt` hides the key exchange but its key is not mixed into the session keys, so this is where it ends
    quantum = ("a pre-shared key that is mixed into the session keys, which OpenVPN does not have",)
    return {Level.ENCRYPTED: encrypted, Level.STRONG: strong, Level.QUANTUM: quantum}


def _direct() -> dict[Level, tuple[str, ...]]:
    return {Level.ENCRYPTED: ("a tunnel: `direct` leaves in clear text",)}


def _lack(met: bool, what: str) -> tuple[str, ...]:
    return () if met else (what,)
