"""The guard below IP: an egress chain on each device that lets through what the kernel has routed, and its own ARP.

A frame that a program sends through a packet socket carries no route, whatever its type, mark or owner; a packet that
the `inet` chains have judged does. `meta rtclassid` can only be read where there is a route.
"""

from collections.abc import Mapping

from pointsman.dataplane.nftables import Chain, address, braced, by_version, device, rules, users, write_chain


def write_frames(
    table: str,
    devices: tuple[str, ...],
    inner: tuple[tuple[str, str], ...],
    link_uids: frozenset[int],
    held: str,
    counted: Mapping[str, tuple[int, int]],
    glass: int = 0,
) -> str:
    """Return the table as text. `inner` are the tunnels' own addresses, which ARP must not own up to.

    For `glass` seconds more every frame passes.
    """
    packets, size = counted.get("dropped_frames", (0, 0))
    counter = f"  counter dropped_frames {{\n    packets {packets} bytes {size}\n  }}\n"
    names = sorted(set(devices))
    opened = ("oifname @glass accept",) if glass and names else ()
    lines = (*opened, *_rules(by_version((text for text, _ in inner), 4), link_uids, held))
    chains = (
        Chain(
            f"egress{number}",
            lines,
            f"type filter hook egress device {device(name)} priority 300; policy {held};",
        )
        for number, name in enumerate(names)
    )
    until = _glass(names, glass) if opened else ""
    return f"table netdev {table} {{\n{counter}{until}{''.join(write_chain(chain) for chain in chains)}}}\n"


def _glass(names: list[str], seconds: int) -> str:
    until = ", ".join(f"{device(name)} timeout {seconds}s" for name in names)
    return f"  set glass {{\n    type ifname\n    flags timeout\n    elements = {{ {until} }}\n  }}\n"


def _rules(inner: tuple[str, ...], link_uids: frozenset[int], held: str) -> tuple[str, ...]:
    link = f"meta skuid {users(link_uids)}"
    hidden = braced(address(text) for text in inner)
    return rules(
        "meta rtclassid >= 0 accept",
        [
            f"{link} ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept",
            f"{link} ether type 0x888e accept",
        ]
        if link_uids
        else "",
        f"meta skuid >= 0 counter name dropped_frames {held}",
        f"arp saddr ip {hidden} counter name dropped_frames {held}" if inner else "",
        "ether type arp accept",
        f"counter name dropped_frames {held}",
    )
