"""Ask a gateway as the agent does: `python -m pointsman.lab.attacks.asker FOLDER ADDRESS KIND WHAT`, one line out.

Run on the instance as root. `WHAT` is `make`, `tunnels` or `renew`. It says `taken` or `refused`, why, how long it took
and by how many MB the process grew.
"""

import asyncio
import resource
import sys
import time
from pathlib import Path

from pointsman.model.fault import Fault
from pointsman.model.gateway import Gateway
from pointsman.model.profile import Level
from pointsman.model.tunnel import Kind
from pointsman.system.gateways import FarEnd
from pointsman.tunnels import making

NAME = "asked-1"


async def ask(gateway: Gateway, what: str) -> object:
    """Do what the agent does, up to the point at which a tunnel would be brought up."""
    line = FarEnd(gateway)
    try:
        if what == "tunnels":
            return sorted(await line.tunnels())
        if what == "renew":
            return sorted(await line.renew([NAME], 60))
        key = making.private_key(gateway.kind)
        given = await line.make(NAME, {**making.request(gateway.kind, key, NAME), "ttl": 60})
        making.spec(gateway.kind, key, given)
        return given.addresses
    finally:
        await line.close()


def main() -> None:
    """Ask once and say how it went."""
    folder, address, kind, what = Path(sys.argv[1]), *sys.argv[2:]
    ca, certificate, key = (str(folder / name) for name in ("gateway-ca.crt", "node.crt", "node.key"))
    gateway = Gateway("asked", address, 7443, Kind(kind), Level.STRONG, (), ca, certificate, key)
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    try:
        said = f"taken {asyncio.run(ask(gateway, what))}"
    except (Fault, ValueError) as fault:
        said = f"refused {fault}"
    took, grown = time.monotonic() - begun, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    size = f"{grown} MB" if grown < 40 else f"GREW by {grown} MB"
    pace = f"{took:.1f} s" if took < 4 else f"SLOW {took:.1f} s"
    sys.stdout.write(f"{said.split(' ')[0]}, {pace}, {size}, {said}\n")


if __name__ == "__main__":
    main()
