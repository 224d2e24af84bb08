"""From a gateway file to a running gateway, and back to a host without anything of ours."""

import asyncio
import gc
import json
import os
import signal
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pointsman.gateway import check, control, keys
from pointsman.gateway.api import Door
from pointsman.gateway.config import load_gateway
from pointsman.gateway.house import House
from pointsman.gateway.keeper import Keeper
from pointsman.gateway.keys import Secrets
from pointsman.gateway.openvpn import OpenvpnServer
from pointsman.gateway.paths import Paths, clear_drafts
from pointsman.gateway.server import TunnelServer
from pointsman.gateway.site import Gateway, Server
from pointsman.gateway.wireguard import WireguardServer
from pointsman.model.fault import Fault
from pointsman.model.tunnel import Kind
from pointsman.system.files import alone, replace_file
from pointsman.system.folders import prepare
from pointsman.system.log import Log
from pointsman.tunnels.drivers import child, link
from pointsman.tunnels.port import Berth

# How often garbage in cycles is looked for, as `gc.set_threshold` takes it: each connection leaves 0.3 MB of TLS there
GARBAGE = (700, 2, 5)


def run(config: Path) -> None:
    """Run the gateway in this process until it is told to end. Tunnels go on without it."""
    _demand_root()
    gc.set_threshold(*GARBAGE)
    gateway, notes = check.start(config, datetime.now(UTC))
    paths = _prepared(gateway)
    log = Log()
    with alone(paths.lock, "gateway"):
        for note in notes:
            log.event("a file of the API is not in order", where=str(note.place), why=note.what, hint=note.hint)
        clear_drafts(paths)
        secrets = keys.recall(paths.wireguard_key, paths.authority, gateway.name)
        _clear_others(gateway, paths)
        keeper = Keeper(gateway, _house(gateway, paths, secrets), paths.grants, secrets, log)
        asyncio.run(_serve(keeper, paths, log))


def remove(config: Path) -> tuple[Fault, ...]:
    """Remove all that is ours from a host where no gateway runs; return what failed. What was granted is kept."""
    _demand_root()
    gateway = load_gateway(config)
    paths = _prepared(gateway)
    with alone(paths.lock, "gateway"):
        clear_drafts(paths)
        secrets = keys.recall(paths.wireguard_key, paths.authority, gateway.name)
        _clear_others(gateway, paths)
        return _house(gateway, paths, secrets).remove()


def _demand_root() -> None:
    if os.geteuid() != 0:
        raise Fault("not-root", "run a gateway", "this needs root")


def _prepared(gateway: Gateway) -> Paths:
    paths = Paths(gateway.runtime, gateway.state)
    prepare(paths)
    return paths


def _house(gateway: Gateway, paths: Paths, secrets: Secrets) -> House:
    return House(gateway, _servers(gateway, paths, secrets), paths.sysctls)


def _servers(gateway: Gateway, paths: Paths, secrets: Secrets) -> Iterator[TunnelServer]:
    for site in gateway.servers:
        berth = _berth(gateway, paths, site)
        if site.kind is Kind.WIREGUARD:
            yield WireguardServer(site, berth, secrets.wireguard)
        else:
            yield OpenvpnServer(site, berth, secrets.authority, gateway.capacity.tunnels)


def _clear_others(gateway: Gateway, paths: Paths) -> None:
    """End the servers that an earlier gateway file had, by other names of devices or at all; note those of this one."""
    devices = {str(site.kind): site.device for site in gateway.servers}
    before = json.loads(paths.devices.read_bytes()) if paths.devices.exists() else {}
    for kind, device in before.items():
        if devices.get(kind) != device:
            berth = Berth(f"gateway-{kind}", paths.runtime / kind, device, gateway.uid, gateway.uid)
            child.end(berth)
            link.remove(berth)
            child.clear(berth)
    replace_file(paths.devices, json.dumps(devices).encode())


def _berth(gateway: Gateway, paths: Paths, site: Server) -> Berth:
    return Berth(f"gateway-{site.kind}", paths.runtime / str(site.kind), site.device, gateway.uid, gateway.uid)


async def _serve(keeper: Keeper, paths: Paths, log: Log) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, keeper.stop)
    door = Door(keeper, keeper.gateway.api) if keeper.gateway.api else None
    if door:
        await door.refresh()  # certificates that cannot be used are told before the host is changed
    await keeper.start()
    runner = await control.serve(keeper, paths.control)
    try:
        if door:
            await door.open()
        (paths.runtime / "ready").write_text(str(os.getpid()))
        log.event("the gateway serves", name=keeper.gateway.name, tunnels=len(keeper.state.grants))
        await first_to_end(keeper.run(), *([door.run(log)] if door else []))
    finally:
        for path in (paths.runtime / "ready", paths.control):
            with suppress(FileNotFoundError):
                path.unlink()
        if door:
            await door.close()
        await runner.cleanup()
    log.event("the gateway ends")


async def first_to_end(*works: Coroutine[object, object, None]) -> None:
    """Return when one of these ends. A bug in one ends the gateway: what it does alone would be done by nobody."""
    tasks = [asyncio.create_task(work) for work in works]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    for task in done:
        task.result()
