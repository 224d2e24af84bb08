"""Where the gateway keeps what it has. Everything is root's; only the daemons' own folders are others'."""

from dataclasses import dataclass
from pathlib import Path

from pointsman.system.folders import Folders


@dataclass(frozen=True, slots=True)
class Paths(Folders):
    """Every file of one gateway."""

    @property
    def lock(self) -> Path:
        """Held by the running gateway."""
        return self.runtime / "gateway.lock"

    @property
    def sysctls(self) -> Path:
        """The settings of the host as they were before."""
        return self.runtime / "sysctls.json"

    @property
    def devices(self) -> Path:
        """The devices of the servers that were started."""
        return self.runtime / "devices.json"

    @property
    def grants(self) -> Path:
        """What was granted."""
        return self.state / "grants.json"

    @property
    def wireguard_key(self) -> Path:
        """The private key of the WireGuard server."""
        return self.state / "wireguard.key"

    @property
    def authority(self) -> Path:
        """The authority for OpenVPN clients, and the server's own certificate, with their keys."""
        return self.state / "openvpn.json"


def clear_drafts(paths: Paths) -> None:
    """Remove what a killed gateway was writing: drafts hold keys. To be called by the one that holds the lock."""
    for draft in (*paths.state.glob("*.new"), *paths.runtime.glob("*.new")):
        draft.unlink(missing_ok=True)
