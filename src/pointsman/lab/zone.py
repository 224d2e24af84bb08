"""What the lab's DNS server on the router says: read and changed while it serves."""

import json
import os
import sys
from pathlib import Path

from pointsman.lab import world
from pointsman.lab.exec import start
from pointsman.lab.names import Lab
from pointsman.lab.wait import until

SHORT = 5
LONG = 300


def start_nameserver(lab: Lab) -> None:
    """Start the DNS server on the router, and return when it listens on the resolvers' addresses and its own."""
    home = lab.home(world.ROUTER)
    entries = {name: {"addresses": list(addresses), "ttl": LONG} for name, addresses in world.NAMES}
    entries |= {name: {"addresses": list(addresses), "ttl": SHORT} for name, addresses in world.DNS_NAMES}
    _write(lab, entries)
    ready = home / "nameserver.ready"
    own = [address.split("/")[0] for address in world.host(world.ROUTER).legs[0].addresses]
    files = [str(zone_file(lab)), str(home / "questions.jsonl"), str(ready)]
    start(
        lab,
        world.ROUTER,
        [sys.executable, "-m", "pointsman.lab.nameserver", *files, *world.RESOLVERS, *own],
        "nameserver",
    )
    until(ready.exists, "the nameserver listens", lab.log(world.ROUTER, "nameserver"))


def say(lab: Lab, name: str, *addresses: str, ttl: int = SHORT, alias: str = "") -> None:
    """Have a name answered with these addresses from now on, by way of another name if `alias` is given."""
    _write(lab, _entries(lab) | {name: {"addresses": addresses, "ttl": ttl} | ({"alias": alias} if alias else {})})


def refuse(lab: Lab, name: str, rcode: str = "SERVFAIL") -> None:
    """Have questions for a name answered with this code from now on."""
    _write(lab, _entries(lab) | {name: {"rcode": rcode}})


def silence(lab: Lab) -> None:
    """Have no question answered any more, until `speak`."""
    zone_file(lab).rename(_aside(lab))


def speak(lab: Lab) -> None:
    """Answer again as before `silence`."""
    _aside(lab).rename(zone_file(lab))


def questions(lab: Lab) -> list[dict[str, str]]:
    """Return every question that reached the server: the address that was asked, name, type and transport."""
    log = lab.home(world.ROUTER) / "questions.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def zone_file(lab: Lab) -> Path:
    """Return the file that is read for every question."""
    return lab.home(world.ROUTER) / "zone.json"


def _aside(lab: Lab) -> Path:
    return zone_file(lab).with_suffix(".aside")


def _entries(lab: Lab) -> dict[str, object]:
    return dict(json.loads(zone_file(lab).read_text()))


def _write(lab: Lab, entries: object) -> None:
    draft = zone_file(lab).with_suffix(".new")
    draft.write_text(json.dumps(entries))
    os.replace(draft, zone_file(lab))
