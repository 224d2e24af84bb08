"""Which directives of an .ovpn file are followed, left out or refused, and why: three tables."""

import ipaddress
import re
from dataclasses import dataclass

from pointsman.model.problem import did_you_mean
from pointsman.model.tunnel import Endpoint


@dataclass(frozen=True, slots=True)
class Setting:
    """A directive that is followed: the pattern that its arguments must match, joined by one space.

    `name` is what the directive is kept as, where that differs; `default` are its arguments where it has none.
    """

    pattern: str
    what: str
    hint: str = ""
    name: str = ""
    default: tuple[str, ...] = ()

    def objection(self, words: tuple[str, ...]) -> str:
        """Return what is wrong with the arguments, or nothing."""
        return "" if re.fullmatch(self.pattern, " ".join(self.kept(words))) else f"expected {self.what}"

    def kept(self, words: tuple[str, ...]) -> tuple[str, ...]:
        """Return the arguments as they are kept."""
        return words or self.default


_COUNT = r"[0-9]{1,6}"
_SWITCH = Setting("", "no argument")
_CIPHERS = r"[A-Za-z0-9-]{3,32}(:[A-Za-z0-9-]{3,32}){0,15}"
_SUITES = r"[A-Za-z0-9_-]{3,64}(:[A-Za-z0-9_-]{3,64}){0,31}"
_SECONDS = Setting(_COUNT, "a number of seconds")

KNOWN: dict[str, Setting] = {
    "client": _SWITCH,
    "dev": Setting(r"tun[A-Za-z0-9]{0,12}", "`tun`", "layer 2 tunnels (`tap`) are not supported"),
    "dev-type": Setting("tun", "`tun`", "layer 2 tunnels (`tap`) are not supported"),
    "proto": Setting(r"(udp|tcp)[46]?|tcp[46]?-client", "`udp` or `tcp`"),
    "port": Setting(r"[0-9]{1,5}", "a port"),
    "rport": Setting(r"[0-9]{1,5}", "a port", name="port"),
    "remote-random": _SWITCH,
    "tun-mtu": Setting(r"1(2[89]|[34][0-9])[0-9]|1500", "a number from 1280 to 1500"),
    "mssfix": Setting(rf"{_COUNT}( (mtu|fixed))?", "a number of bytes", default=("1492", "mtu")),
    "fragment": Setting(_COUNT, "a number of bytes"),
    "data-ciphers": Setting(_CIPHERS, "cipher names joined by `:`"),
    "ncp-ciphers": Setting(_CIPHERS, "cipher names joined by `:`", name="data-ciphers"),
    "auth": Setting(r"SHA(1|256|384|512|2-256|2-512|3-256|3-512)", "`SHA256`, `SHA384` or `SHA512`"),
    "tls-version-min": Setting(
        r"1\.[23]( or-highest)?", "`1.2` or `1.3`", "older versions of TLS are broken (RFC 8996)"
    ),
    "tls-cipher": Setting(_SUITES, "cipher suites joined by `:`"),
    "tls-ciphersuites": Setting(_SUITES, "cipher suites joined by `:`"),
    "tls-groups": Setting(_SUITES, "groups joined by `:`"),
    "tls-cert-profile": Setting("preferred|suiteb", "`preferred` or `suiteb`"),
    "key-direction": Setting("[01]", "`0` or `1`"),
    "remote-cert-tls": Setting("server", "`server`"),
    "verify-x509-name": Setting(r'[^"\\]{1,200}', "a name, and how it is compared"),
    "ping": _SECONDS,
    "ping-restart": _SECONDS,
    "keepalive": Setting(rf"{_COUNT} {_COUNT}", "two numbers of seconds"),
    "reneg-sec": Setting(rf"{_COUNT}( {_COUNT})?", "a number of seconds"),
    "hand-window": _SECONDS,
    "tran-window": _SECONDS,
    "connect-timeout": _SECONDS,
    "server-poll-timeout": Setting(_COUNT, "a number of seconds", name="connect-timeout"),
    "explicit-exit-notify": Setting(r"[0-9]", "a number of attempts", default=("1",)),
    "sndbuf": Setting(_COUNT, "a number of bytes"),
    "rcvbuf": Setting(_COUNT, "a number of bytes"),
    "allow-compression": Setting("no", "`no`", "compression gives plaintext away (VORACLE)"),
    "comp-lzo": Setting("no", "`no`", "compression gives plaintext away (VORACLE)", name="allow-compression"),
}

_ROUTES = "policy alone decides what goes through the tunnel"
_NAMES = "names are resolved by the resolvers that the node declares"
_OURS = "pointsman runs the daemon and sets this itself"
_ALWAYS = "this is always so"

IGNORED: dict[str, str] = {
    **dict.fromkeys(("redirect-gateway", "redirect-private", "route", "route-ipv6", "route-metric"), _ROUTES),
    **dict.fromkeys(("route-gateway", "route-delay", "block-ipv6", "allow-recursive-routing"), _ROUTES),
    **dict.fromkeys(("dhcp-option", "dns", "block-outside-dns", "register-dns"), _NAMES),
    **dict.fromkeys(("route-nopull", "route-noexec", "ifconfig-noexec", "pull-filter", "pull"), _ALWAYS),
    **dict.fromkeys(("tls-client", "nobind", "auth-nocache", "disable-dco"), _ALWAYS),
    **dict.fromkeys(("persist-key", "persist-tun", "persist-local-ip", "persist-remote-ip"), _OURS),
    **dict.fromkeys(("verb", "mute", "mute-replay-warnings", "suppress-timestamps", "nice", "mlock"), _OURS),
    **dict.fromkeys(("resolv-retry", "connect-retry", "connect-retry-max", "auth-retry", "topology"), _OURS),
    **dict.fromkeys(("txqueuelen", "fast-io", "push-peer-info", "setenv-safe", "ignore-unknown-option"), _OURS),
    "setenv": "no program is started that could read it",
    "cipher": "`data-ciphers` says which ciphers are allowed",
    "ifconfig-nowarn": _OURS,
}

_PROGRAM = "remove the line; pointsman never executes programs from a tunnel file"
_PORT = "remove the line; pointsman runs the daemon and watches it by a socket of its own"
_WEAK = "it would weaken the tunnel"
_STORE = "use PEM blocks: `<ca>`, `<cert>` and `<key>`, the key without a passphrase"

REFUSED: dict[str, str] = {
    **dict.fromkeys(("up", "down", "up-delay", "down-pre", "up-restart", "route-up", "route-pre-down"), _PROGRAM),
    **dict.fromkeys(("ipchange", "tls-verify", "client-connect", "client-disconnect"), _PROGRAM),
    **dict.fromkeys(("learn-address", "auth-user-pass-verify", "plugin", "script-security", "iproute"), _PROGRAM),
    **dict.fromkeys(("client-crresponse", "tls-crypt-v2-verify", "tls-export-cert", "dns-updown"), _PROGRAM),
    **dict.fromkeys(("management", "management-client", "management-hold", "management-query-passwords"), _PORT),
    **dict.fromkeys(("management-external-key", "management-external-cert", "management-signal"), _PORT),
    **dict.fromkeys(("daemon", "log", "log-append", "syslog", "status", "writepid", "inetd"), _PORT),
    **dict.fromkeys(("user", "group", "chroot", "cd", "config", "setcon", "dev-node", "bind-dev", "mark"), _PORT),
    **dict.fromkeys(("lport", "local", "bind"), "remove the line; the port is chosen by the kernel"),
    **dict.fromkeys(("compress", "data-ciphers-fallback", "ncp-disable", "no-replay", "no-iv"), _WEAK),
    **dict.fromkeys(("providers", "engine", "compat-mode", "no-name-remapping", "keysize"), _WEAK),
    **dict.fromkeys(("float", "insecure", "tls-exit", "single-session", "prng"), _WEAK),
    **dict.fromkeys(("pkcs11-id", "pkcs11-providers", "pkcs12", "askpass", "cryptoapicert", "capath"), _STORE),
    "secret": "static keys give no forward secrecy; use TLS with certificates",
    "verify-hash": "use `peer-fingerprint`, which pins the gateway's own certificate",
    "http-proxy": "proxies on the way to the gateway are not supported",
    "socks-proxy": "proxies on the way to the gateway are not supported",
    "static-challenge": "a tunnel starts with nobody at the terminal",
    "server": "this is a gateway's file, not a client's",
    "mode": "this is a gateway's file, not a client's",
    "ifconfig": "only clients that are told their address by the gateway are supported",
    "ifconfig-ipv6": "only clients that are told their address by the gateway are supported",
    "connection": "write one `remote` line per gateway address",
}


# What is kept of a block is only what these patterns find: nothing else of a file reaches the daemon
_BLOCK_PATTERNS: dict[str, str] = {
    **dict.fromkeys(("ca", "cert", "extra-certs"), "CERTIFICATE"),
    "key": "PRIVATE KEY|RSA PRIVATE KEY|EC PRIVATE KEY",
    "crl-verify": "X509 CRL",
    "tls-crypt-v2": "OpenVPN tls-crypt-v2 client key",
    **dict.fromkeys(("tls-crypt", "tls-auth"), "OpenVPN Static key V1"),
}
BLOCKS = frozenset({*_BLOCK_PATTERNS, "auth-user-pass", "peer-fingerprint"})


def clean_block(name: str, body: str) -> str | tuple[str, str]:
    """Return the part of a key, certificate or credential that is used, or (what is wrong, how to mend it)."""
    lines = [line.strip() for line in body.splitlines()]
    if name == "auth-user-pass":
        if len(lines) < 2 or not all(
            re.fullmatch(r"[^<\x00-\x1f\x7f][^\x00-\x1f\x7f]{0,127}", line) for line in lines[:2]
        ):
            return "is not two lines, user and password", "neither may begin with `<`"
        return f"{lines[0]}\n{lines[1]}\n"
    if name == "peer-fingerprint":
        found = [line for line in lines if line]
        if not found or not all(re.fullmatch(r"([0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2}", line) for line in found):
            return "is not a SHA-256 fingerprint", "32 bytes in hexadecimal, joined by `:`"
        return "\n".join(found) + "\n"
    label = _BLOCK_PATTERNS[name]
    pattern = rf"-----BEGIN ({label})-----\n[A-Za-z0-9+/=\n]+-----END \1-----"
    blocks = [match.group(0) for match in re.finditer(pattern, "\n".join(lines))]
    if not blocks:
        hint = _STORE if name == "key" else f"it begins with `-----BEGIN {label.split('|')[0]}-----`"
        return "holds no PEM block of the right kind", hint
    return "\n".join(blocks) + "\n"


def endpoint(words: tuple[str, ...], port: str, protocol: str) -> Endpoint | tuple[str, str]:
    """Return the gateway that a `remote` line names, or what is wrong with it and how to mend it."""
    if not 1 <= len(words) <= 3:
        return "`remote` takes an address, a port and a protocol", "for example `remote 203.0.113.5 1194 udp`"
    host, number, proto = (*words, *("", port, protocol)[len(words) :])
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        hint = "write the address: the guard frees outer packets by address, and names are not resolved"
        return f"`{host[:60]}` is not an address", hint
    if address.is_multicast or address.is_unspecified or "%" in host:
        return f"`{host}` cannot be a gateway's address", ""
    if not (number.isascii() and number.isdigit() and 0 < int(number[:6]) < 65536):
        return f"`{number[:20]}` is not a port", ""
    if not re.fullmatch(KNOWN["proto"].pattern, proto):
        return f"`{proto[:20]}` is not a protocol", "`udp` or `tcp`"
    return Endpoint(str(address), int(number), proto[:3])


def suggestion(name: str) -> str:
    """Return a hint for a directive that nobody knows."""
    return did_you_mean(name, [*KNOWN, *BLOCKS, "remote"])
