"""Both sides of the tunnels that gateways were asked for: what the instance keeps of them, and what the gateways do."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pointsman.lab import exec as on
from pointsman.lab import world
from pointsman.tunnels.drivers import uapi
from tests.lab.steered import Steered

POOL = frozenset(gateway.tunnel for gateway in world.GATEWAYS)
VAULT = ("gw-a", "gw-b")


@dataclass(frozen=True, slots=True)
class Sides:
    """Looks at files wherever that will do, so that a moment can be caught."""

    host: Steered

    def files(self) -> dict[str, Any]:
        """Return what lies in the files of tunnels, by name."""
        found = {}
        for path in (self.host.lab.runtime / "made").glob("*.json"):
            try:
                found[path.stem] = json.loads(path.read_bytes())
            except FileNotFoundError:
                continue
        return found

    def folders(self) -> set[str]:
        """Return the tunnels whose daemons have a folder, those of the pool left out."""
        return {path.name for path in (self.host.lab.runtime / "tunnels").glob("*")} - POOL

    def grants(self, gateway: str) -> list[Any]:
        """Return what a gateway has written down."""
        content = json.loads((self.host.lab.keys / gateway / "state" / "grants.json").read_bytes())
        return list(content["grants"])

    def granted(self) -> set[str]:
        """Return the tunnels of the instance that the gateways have written down."""
        every = (one["asked"] for gateway in world.GATEWAYS for one in self.grants(gateway.host))
        return {asked["name"] for asked in every if asked["owner"] == world.NODE_NAME}

    def keys(self, gateway: str) -> dict[str, str]:
        """Return the public keys that a gateway has granted tunnels of WireGuard for, by name."""
        asked = [one["asked"] for one in self.grants(gateway)]
        return {one["name"]: uapi.hexadecimal(one["identity"]) for one in asked if one["kind"] == "wireguard"}

    def peers(self, gateway: str) -> set[str]:
        """Return the public keys that a gateway's server knows."""
        socket: Path = self.host.lab.home(gateway) / "gateway" / "wireguard" / "run" / "wireguard" / "wg0.sock"
        settings = uapi.understand(uapi.exchange(socket, "get=1\n\n")).settings
        return {said[0] for said in settings if said[1] == "preshared_key"}

    def disagreement(self) -> dict[str, Any]:
        """Return what is not the same everywhere; empty where all is. What drains is in files, and no lease."""
        told = self.host.json("leases", "list")
        files, status = self.files(), self.host.status()["tunnels"]
        devices = {one["device"] for one in status if one["device"].startswith("pm")}
        links = json.loads(self.host.run("ip", "-j", "link").stdout)
        daemons = self.host.daemons()
        seen: dict[str, tuple[Any, Any]] = {
            "leases and files": (
                {one["tunnel"] for one in (*told["leases"], *told["spares"])},
                {name for name, kept in files.items() if kept["made"]["leaving"] is None},
            ),
            "files and gateways": (files.keys(), self.granted()),
            "files and folders": (files.keys(), self.folders()),
            "links and tunnels": ({one["ifname"] for one in links if one["ifname"].startswith("pm")}, devices),
            "daemons and tunnels": (
                len(daemons.get("wireguard-go", ())) + len(daemons.get("openvpn", ())),
                len(devices),
            ),
        }
        for gateway in VAULT:
            grants = self.grants(gateway)
            own = {address for one in grants for address in one["addresses"] if "." in address}
            seen[f"{gateway}: grants and guard"] = (own, self._let_pass(gateway))
            seen[f"{gateway}: grants and peers"] = (set(self.keys(gateway).values()), self.peers(gateway))
        return {what: sides for what, sides in seen.items() if sides[0] != sides[1]}

    def _let_pass(self, gateway: str) -> set[str]:
        rules = on.demand(self.host.lab, gateway, ["nft", "list", "set", "inet", "pointsman_gateway", "own4"])
        return set(re.findall(r"[0-9]+[.][0-9]+[.][0-9.]+", rules))
