"""The settings that make this network namespace forward, and back to what they were.

IPv4 forwards from the gateway's own devices and uplinks alone. IPv6 has no such setting that every kernel knows:
`all/forwarding` makes routers of all devices, and then an uplink hears router advertisements only with `accept_ra` 2.
"""

import json
from pathlib import Path

from pointsman.gateway.site import Gateway
from pointsman.system import sysctl
from pointsman.system.files import replace_file


def forward(gateway: Gateway, kept: Path) -> None:
    """Make it forward. What was there before is written to `kept` first, unless that is done already."""
    if not kept.exists():
        replace_file(kept, json.dumps(_before(gateway)).encode())
    if sysctl.read("ipv6/conf/all/forwarding") != "1":
        sysctl.write("ipv6/conf/all/forwarding", "1")
    for device in (*gateway.uplinks, *(server.device for server in gateway.servers)):
        sysctl.write(f"ipv4/conf/{device}/forwarding", "1")
    for device in gateway.uplinks:
        if sysctl.read(f"ipv6/conf/{device}/accept_ra") == "1":
            sysctl.write(f"ipv6/conf/{device}/accept_ra", "2")


def restore(kept: Path) -> None:
    """Put all settings back, and forget them."""
    if kept.exists():
        for name, value in json.loads(kept.read_bytes()).items():
            sysctl.write(name, value)
        kept.unlink()


def _before(gateway: Gateway) -> dict[str, str]:
    """Return all that is going to change, in the order in which it is to be put back: `all` changes every device."""
    others = [device for device in sysctl.devices("ipv6") if device not in ("all", "lo")]
    names = [
        *("ipv6/conf/all/forwarding", *(f"ipv6/conf/{device}/forwarding" for device in others)),
        *(f"ipv4/conf/{device}/forwarding" for device in gateway.uplinks),
        *(f"ipv6/conf/{device}/accept_ra" for device in gateway.uplinks),
    ]
    found = {name: sysctl.read(name) for name in names}
    return {name: value for name, value in found.items() if value is not None}
