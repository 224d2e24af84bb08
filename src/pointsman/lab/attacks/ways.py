"""Faults on the way of packets, one function each: what is broken, what was seen meanwhile, that all is well again."""

import json
import sys
import time
from typing import Any

import yaml

from pointsman.lab.attacks.bench import Bench
from pointsman.lab.attacks.case import POLICY
from pointsman.lab.attacks.trouble import API, broken, changed, told, traffic


def conntrack_flushed(bench: Bench) -> str:
    """Flush what the kernel knows of connections, ten times."""
    with traffic(bench, "flows", 3) as ended:
        for _ in range(10):
            bench.on(sys.executable, "-c", "from pyroute2 import NFCTSocket; NFCTSocket().flush()")
    return f"ROUTE({bench.ask()}) ({told(ended)})"


def route_by_a_neighbour(bench: Bench) -> str:
    """Put a closer route to the origin into the main table (CVE-2024-3661)."""
    with changed(bench, f"route add {API}/32 via 192.0.2.23", f"route del {API}/32 via 192.0.2.23"):
        return _asked_apart(bench)


def half_the_world_by_a_neighbour(bench: Bench) -> str:
    """Do it with two halves of the address space, as DHCP option 121 can."""
    with (
        changed(bench, "route add 0.0.0.0/1 via 192.0.2.23", "route del 0.0.0.0/1 via 192.0.2.23"),
        changed(bench, "route add 128.0.0.0/1 via 192.0.2.23", "route del 128.0.0.0/1 via 192.0.2.23"),
    ):
        return _asked_apart(bench)


def origin_on_the_local_net(bench: Bench) -> str:
    """Give the card an address of the origin's network."""
    with changed(bench, "address add 198.51.100.9/24 dev eth0", "address del 198.51.100.9/24 dev eth0"):
        before = bench.witness.counts().sent(destination=API)
        said = _asked_apart(bench)
        frames = bench.witness.counts().sent(destination=API) - before
    return f"{said}, {'no frame' if frames == 0 else f'{frames} frames'} to it"


def link_deleted(bench: Bench) -> str:
    """Delete the tunnel's device."""
    return broken(bench, lambda: bench.on("ip", "link", "del", bench.device("wg-a")))


def link_down(bench: Bench) -> str:
    """Set the tunnel's device down."""
    return broken(bench, lambda: bench.on("ip", "link", "set", bench.device("wg-a"), "down"))


def addresses_deleted(bench: Bench) -> str:
    """Delete the addresses of the tunnel's device."""
    return broken(bench, lambda: bench.on("ip", "address", "flush", "dev", bench.device("wg-a")))


def routes_flushed(bench: Bench) -> str:
    """Flush the tunnel's routing table."""

    def flush() -> None:
        for words in _rules(bench):
            if words["table"] != "main":
                bench.on("ip", "route", "flush", "table", words["table"])

    return broken(bench, flush)


def rules_deleted(bench: Bench) -> str:
    """Delete the rules that lead marked packets to their tables."""

    def delete() -> None:
        for words in _rules(bench):
            bench.on("ip", "rule", "del", "pref", str(words["priority"]))

    return broken(bench, delete)


def reloads_under_flood(bench: Bench) -> str:
    """Put two policies in force by turns while traffic runs."""
    other = bench.lab.node / "other.yaml"
    document = yaml.safe_load(POLICY.read_text())
    document["rules"].insert(0, {"name": "other", "when": 'request.path == "/v1/nobody"', "deny": True})
    other.write_text(yaml.safe_dump(document, sort_keys=False))
    applied = 0
    with traffic(bench, "flow", 12) as flows, traffic(bench, "flood", 12) as flood:
        begun = time.monotonic()
        while time.monotonic() - begun < 10:
            for path in (other, bench.lab.node / "policy.yaml"):
                applied += bench.apply(path)
    bad = sum(count for name, count in flows.items() if name not in ("200", "connections"))
    lost = "no request lost" if bad * 1000 <= flows["200"] and flows["200"] else f"{bad} requests lost"
    held = "HELD" if bench.witness.control() == 0 else "OPEN"
    return f"{held} ({applied} reloads; {told(flood)}), {lost} ({told(flows)})"


def _asked_apart(bench: Bench) -> str:
    """Make requests on new and on used connections for a while; they should all take the same way."""
    time.sleep(1.2)
    return f"ROUTE({' '.join(sorted({bench.ask() for _ in range(5)}))})"


def _rules(bench: Bench) -> list[dict[str, Any]]:
    found = json.loads(bench.on("ip", "-j", "rule"))
    return [words for words in found if "fwmark" in words]


FAULTS = (
    conntrack_flushed,
    route_by_a_neighbour,
    half_the_world_by_a_neighbour,
    origin_on_the_local_net,
    link_deleted,
    link_down,
    addresses_deleted,
    routes_flushed,
    rules_deleted,
    reloads_under_flood,
)
