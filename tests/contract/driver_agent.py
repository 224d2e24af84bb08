"""An agent that lives for one verb of a driver: `driver_agent.py RUNTIME NAME KIND FILE VERB`, writes what it saw."""

import json
import sys
from contextlib import suppress
from pathlib import Path

from pointsman.lab.wait import until
from pointsman.model.fault import Fault
from pointsman.model.problem import Place
from pointsman.model.profile import Level
from pointsman.model.tunnel import Entry, Kind, State
from pointsman.tunnels.drivers import drivers
from pointsman.tunnels.drivers.files import read_text
from pointsman.tunnels.pool import load_pool
from pointsman.tunnels.port import Observation, berth


def main(runtime: str, name: str, kind: str, source: str, verb: str) -> None:
    direct = kind == "direct"
    entry = Entry(name, Kind(kind), Level.NONE, file="" if direct else source, device=source if direct else "")
    spec = load_pool([(entry, Place("test"))], read_text).supplies[0].spec
    driver, home = drivers()[Kind(kind)], berth(Path(runtime), name, 64002, 64002)
    if verb == "up":
        driver.start(spec, home)
        with suppress(Fault):  # then what is seen says what is wrong
            until(lambda: driver.tend(spec, home).state is State.UP, "the tunnel is up", within=20, every=0.05)
    elif verb == "start":
        driver.start(spec, home)
    elif verb == "revive":
        driver.revive(spec, home)
    elif verb == "stop":
        driver.stop(home)
    sys.stdout.write(json.dumps(fields(driver.tend(spec, home))))


def fields(seen: Observation) -> dict[str, object]:
    return {
        "state": str(seen.state),
        "device": seen.device,
        "sources": list(seen.sources),
        "mtu": seen.mtu,
        "age": seen.handshake_age,
        "sent": seen.sent,
        "why": seen.why,
    }


if __name__ == "__main__":
    main(*sys.argv[1:6])
