"""The file that brings up the other end of a static tunnel: wg-quick or .ovpn. Its private key is made for it alone."""

import base64
import os
from dataclasses import dataclass, field

from pointsman.gateway import request
from pointsman.gateway.admission import Refused
from pointsman.gateway.grant import OPERATOR, Grant, Request
from pointsman.gateway.keys import Secrets
from pointsman.gateway.site import Server
from pointsman.model.profile import Qos
from pointsman.model.tunnel import Kind
from pointsman.tunnels import keys
from pointsman.tunnels.drivers.uapi import where
from pointsman.tunnels.levels import DEFAULT_CIPHERS


@dataclass(frozen=True, slots=True)
class Draft:
    """A request for a static tunnel, and the private key that goes into the file."""

    request: Request
    private_key: str = field(repr=False)


def draft(name: str, kind: Kind, bandwidth: int | None, qos: Qos) -> Draft:
    """Make the keys of the other end, and the request for its tunnel. ValueError: no gateway ends that kind."""
    if kind is Kind.WIREGUARD:
        private = keys.wireguard_private()
        shared = base64.b64encode(os.urandom(32)).decode()
        asked = request.wireguard(OPERATOR, name, keys.wireguard_public(private), shared, bandwidth, qos, None)
        return Draft(asked, private)
    if kind is Kind.OPENVPN:
        private = keys.certificate_key()
        made = request.openvpn(OPERATOR, name, keys.signing_request(private), bandwidth, qos, None)
        if not isinstance(made, Refused):
            return Draft(made, private)
    raise ValueError(f"`{kind}` is no kind of tunnel that ends at a gateway")


def text(draft: Draft, grant: Grant, site: Server, secrets: Secrets) -> str:
    """Return the file for the other end of a tunnel."""
    if grant.kind is Kind.WIREGUARD:
        return _wg_quick(draft, grant, site, secrets)
    return _ovpn(draft, grant, site, secrets)


def _wg_quick(draft: Draft, grant: Grant, site: Server, secrets: Secrets) -> str:
    return f"""# {grant.asked.name}
[Interface]
PrivateKey = {draft.private_key}
Address = {", ".join(grant.addresses)}
MTU = {site.mtu}

[Peer]
PublicKey = {secrets.public_key}
PresharedKey = {grant.asked.preshared_key}
AllowedIPs = {", ".join("::/0" if ":" in own else "0.0.0.0/0" for own in grant.addresses)}
Endpoint = {where(site.endpoint)}
PersistentKeepalive = 5
"""


def _ovpn(draft: Draft, grant: Grant, site: Server, secrets: Secrets) -> str:
    dialled = site.endpoint
    return f"""# {grant.asked.name}
client
dev tun
nobind
remote {dialled.address} {dialled.port} {dialled.protocol}
remote-cert-tls server
tls-version-min 1.3
data-ciphers {DEFAULT_CIPHERS}
tun-mtu {site.mtu}
<ca>
{secrets.authority.certificate.rstrip()}
</ca>
<peer-fingerprint>
{secrets.authority.server.fingerprint}
</peer-fingerprint>
<cert>
{grant.certificate.rstrip()}
</cert>
<key>
{draft.private_key.rstrip()}
</key>
"""
