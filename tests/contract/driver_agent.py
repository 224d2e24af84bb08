"""An agent that lives for one verb of a driver: `driver_agent.py RUNTIME NAME KIND FILE VERB`, writes what it saw."""

import json
import sys
import time
from pathlib import Path

from pointsman.model.problem import Place
from pointsman.model.profile import Level
from pointsman.model.tunnel import Entry, Kind, State
from pointsman.tunnels.drivers import DRIVERS
from pointsman.tunnels.drivers.files import read_text
from pointsman.tunnels.pool import load_pool
from pointsman.tunnels.port import Observation, berth


def main(runtime: str, name: str, kind: str, source: str, verb: str) -> None:
    direct = kind == "direct"
    entry = Entry(name, Kind(kind), Level.NONE, file="" if direct else source, device=source if direct else "")
    spec = load_pool([(entry, Place("test"))], read_text).supply(name).spec
    driver, home = DRIVERS[Kind(kind)], berth(Path(runtime), name, 64002, 64002)
    seen: Observation | None = None
    if verb == "up":
        driver.start(spec, home)
        deadline = time.monotonic() + 20
        while (seen := driver.tend(spec, home)).state is not State.UP and time.monotonic() < deadline:
            time.sleep(0.05)
    elif verb == "start":
        driver.start(spec, home)
    elif verb == "tend":
        seen = driver.tend(spec, home)
    elif verb == "stop":
        driver.stop(home)
    sys.stdout.write(json.dumps(fields(seen or driver.observe(spec, home))))


def fields(seen: Observation) -> dict[str, object]:
    return {
        "state": str(seen.state),
        "device": seen.device,
        "sources": list(seen.sources),
        "endpoints": [[e.address, e.port, e.protocol] for e in seen.endpoints],
        "mtu": seen.mtu,
        "age": seen.handshake_age,
        "received": seen.received,
        "sent": seen.sent,
        "why": seen.why,
    }


if __name__ == "__main__":
    main(*sys.argv[1:6])
