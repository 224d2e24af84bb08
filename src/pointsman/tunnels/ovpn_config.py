"""Makes the configuration that the openvpn daemon gets: ours first, then what the user's file may decide."""

from pointsman.tunnels.levels import DEFAULT_CIPHERS, DEFAULT_TLS
from pointsman.tunnels.port import OpenvpnSpec

MANAGEMENT_SOCKET = "management"

# All that a gateway may tell us. Routes, names, scripts, compression and another MTU are not among it
_PULLED = (
    *("ifconfig ", "ifconfig-ipv6 ", "topology ", "peer-id ", "cipher ", "ping ", "ping-restart ", "ping-exit "),
    *("key-derivation ", "protocol-flags ", "auth-token ", "auth-token-user ", "explicit-exit-notify"),
)
_DEFAULTS = (
    ("data-ciphers", DEFAULT_CIPHERS),
    ("tls-version-min", DEFAULT_TLS),
    ("keepalive", "5 20"),
    ("hand-window", "20"),
    ("connect-timeout", "10"),
)
_DECIDED = ("client", "dev", "dev-type", "allow-compression", "ping", "ping-restart", "keepalive")


def configuration(spec: OpenvpnSpec, link: str) -> str:
    """Return the daemon's configuration for a link that was made for its user."""
    lines = [
        *("client", f"dev {link}", "dev-type tun", "nobind", "persist-key", "persist-tun"),
        *("ifconfig-noexec", "route-noexec", "route-nopull", "script-security 0", "disable-dco"),
        *("allow-compression no", "auth-nocache", "auth-retry none", "resolv-retry 0", "connect-retry 1 8"),
        *("tmp-dir .", f"management {MANAGEMENT_SOCKET} unix", "management-client-user root", "verb 2", "mute 20"),
        *(f'pull-filter accept "{start}"' for start in _PULLED),
        'pull-filter ignore ""',
        *(f"remote {where.address} {where.port} {_protocol(where.protocol, where.address)}" for where in spec.remotes),
    ]
    said = {name for name, *_ in spec.settings}
    if said & {"ping", "ping-restart"}:
        said.add("keepalive")
    lines += [f"{name} {value}" for name, value in _DEFAULTS if name not in said]
    for name, *words in spec.settings:
        if name in ("keepalive", "ping", "ping-restart") or name not in _DECIDED:
            lines.append(" ".join([name, *(_quoted(word) for word in words)]))
    lines += [f"<{name}>\n{body.rstrip()}\n</{name}>" for name, body in spec.blocks]
    return "\n".join(lines) + "\n"


def _protocol(protocol: str, address: str) -> str:
    family = "6" if ":" in address else "4"
    return f"tcp{family}-client" if protocol == "tcp" else f"udp{family}"


def _quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if not word.replace("-", "").replace(":", "").isalnum() else word
