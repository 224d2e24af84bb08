"""The gateway's own secrets: its WireGuard key and its OpenVPN authority, made once and kept in the state folder."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pointsman.gateway.request import signed_key
from pointsman.model.fault import Fault
from pointsman.system.certificates import Credential, authority, issue, sign
from pointsman.system.files import replace_file
from pointsman.tunnels.keys import wireguard_private, wireguard_public

# What a certificate is good for ends with its tunnel, so it need not end by itself
DAYS = 3650


class Authority:
    """Signs for OpenVPN clients. Its key never leaves the file."""

    def __init__(self, ca: Credential, server: Credential) -> None:
        self._ca = ca
        self.server = server

    @property
    def certificate(self) -> str:
        """Return the authority's certificate, in PEM."""
        return self._ca.certificate

    def sign(self, csr: str, name: str) -> str:
        """Return a client's certificate, in PEM, by its signing request, which must be sound."""
        key = signed_key(csr)
        if key is None:
            raise ValueError("the signing request is not sound")
        return sign(self._ca, key, name, server=False, days=DAYS)


@dataclass(frozen=True, slots=True)
class Secrets:
    """All that only this gateway knows."""

    wireguard: str = field(repr=False)
    authority: Authority

    @property
    def public_key(self) -> str:
        """Return the public key of the WireGuard server in base64."""
        return wireguard_public(self.wireguard)


def recall(wireguard: Path, authority: Path, name: str) -> Secrets:
    """Return the secrets in these two files, made at the first time."""
    return Secrets(_wireguard_key(wireguard), _openvpn_authority(authority, name))


def _wireguard_key(path: Path) -> str:
    if not path.exists():
        replace_file(path, f"{wireguard_private()}\n".encode())
    try:
        text = path.read_text("ascii").strip()
        wireguard_public(text)
    except ValueError as error:
        why = "it is damaged; restore it, or remove it: then every WireGuard tunnel has to be made anew"
        raise Fault("state-damaged", f"read `{path}`", why) from error
    return text


def _openvpn_authority(path: Path, name: str) -> Authority:
    if not path.exists():
        ca = authority(f"{name} tunnels", DAYS)
        made = {"ca": asdict(ca), "server": asdict(issue(ca, name, server=True, days=DAYS))}
        replace_file(path, json.dumps(made).encode())
    try:
        kept = json.loads(path.read_bytes())
        return Authority(Credential(**kept["ca"]), Credential(**kept["server"]))
    except (ValueError, KeyError, TypeError) as error:
        why = "it is damaged; restore it, or remove it: then every OpenVPN tunnel has to be made anew"
        raise Fault("state-damaged", f"read `{path}`", why) from error
