"""Have a host of the lab lose its power: every process, device, rule and route is gone, and all that lay in memory.

What is on its disk stays, and the boot has another id. Its cables and their addresses are there again, as its own boot
would have made them. The clock since boot goes on: it is the machine's.
"""

import json
import os
import shutil
import signal
import uuid
from contextlib import suppress
from pathlib import Path

from pointsman.lab import exec as on
from pointsman.lab import world
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.model.routing import PROTOCOL


def reboot(lab: Lab, host: str, runtime: Path) -> None:
    """Turn a host off and on again; `runtime` is the folder that it has in memory. Nothing is started on it."""
    _kill_all(lab, host)
    cables = {"lo", *(leg.device for leg in world.host(host).legs)}
    for link in json.loads(on.demand(lab, host, ["ip", "-j", "link"])):
        if link["ifname"] not in cables:
            on.run(lab, host, ["ip", "link", "del", link["ifname"]])
    on.demand(lab, host, ["nft", "flush", "ruleset"])
    for family in ("-4", "-6"):
        _forget_ways(lab, host, family)
    for folder in (runtime, lab.home(host) / "wireguard"):
        _empty(folder)
    (lab.home(host) / "boot_id").write_text(f"{uuid.uuid4()}\n")


def _kill_all(lab: Lab, host: str) -> None:
    def none_left() -> bool:
        left = list(on.processes(lab, host))
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    until(none_left, f"nothing runs on {host}")


def _forget_ways(lab: Lab, host: str, family: str) -> None:
    own = str(PROTOCOL)
    for rule in json.loads(on.demand(lab, host, ["ip", family, "-j", "rule"])):
        if rule.get("protocol") == own:
            on.demand(lab, host, ["ip", family, "rule", "del", "pref", str(rule["priority"]), "protocol", own])
    on.run(lab, host, ["ip", family, "route", "flush", "table", "all", "proto", own])


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
