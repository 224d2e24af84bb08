"""What the OpenVPN server is told: its own configuration, and the file of each client (openvpn(8), 2.6)."""

from collections.abc import Mapping
from ipaddress import ip_network

from pointsman.gateway.grant import Grant
from pointsman.gateway.site import Server
from pointsman.tunnels.levels import DEFAULT_CIPHERS
from pointsman.tunnels.ovpn_config import MANAGEMENT_SOCKET


def server_text(site: Server, blocks: Mapping[str, str], link: str, clients: str, most: int) -> str:
    """Return the daemon's configuration for a link of its user's. `clients` is the folder of the clients' files."""
    family = "6" if ":" in site.endpoint.address else "4"
    protocol = f"udp{family}" if site.endpoint.protocol == "udp" else f"tcp{family}-server"
    lines = [
        *("mode server", "tls-server", f"proto {protocol}", f"port {site.endpoint.port}"),
        *(("multihome", "explicit-exit-notify 1") if site.endpoint.protocol == "udp" else ("tcp-nodelay",)),
        *(f"dev {link}", "dev-type tun", f"tun-mtu {site.mtu}", "topology subnet", 'push "topology subnet"'),
        *(_own(site, network) for network in site.pool.networks),
        *("ifconfig-noexec", "route-noexec", "persist-key", "persist-tun", "script-security 0", "disable-dco"),
        *(f"client-config-dir {clients}", "ccd-exclusive", f"max-clients {most}", "keepalive 5 20"),
        *("verify-client-cert require", "remote-cert-tls client", "dh none", "tls-version-min 1.3"),
        *(f"data-ciphers {DEFAULT_CIPHERS}", "allow-compression no", "auth-nocache"),
        *("tmp-dir .", f"management {MANAGEMENT_SOCKET} unix", "management-client-user root", "verb 2", "mute 20"),
        *(['push "redirect-gateway def1 ipv6"'] if site.redirect else []),
        *(_block(name, body) for name, body in blocks.items()),
    ]
    return "\n".join(lines) + "\n"


def client_text(site: Server, grant: Grant) -> str:
    """Return the file with which the server knows a client, and gives it its addresses."""
    lines = []
    for own in grant.addresses:
        network = next(ip_network(text) for text in site.pool.networks if (":" in text) == (":" in own))
        if network.version == 6:
            lines.append(f"ifconfig-ipv6-push {own}/{network.prefixlen} {network[1]}")
        else:
            lines.append(f"ifconfig-push {own} {network.netmask}")
    return "\n".join(lines) + "\n"


def _own(site: Server, text: str) -> str:
    network = ip_network(text)
    if network.version == 6:
        return f"ifconfig-ipv6 {network[1]}/{network.prefixlen} {network[1]}"
    return f"ifconfig {network[1]} {network.netmask}"


def _block(name: str, body: str) -> str:
    return f"<{name}>\n{body.rstrip()}\n</{name}>"
