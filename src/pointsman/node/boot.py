"""From a node file to a running agent, and back to a host without anything of ours."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pointsman.dataplane.guard import guard_text
from pointsman.model.fault import Fault
from pointsman.model.tunnel import Kind
from pointsman.node import applied, control, coverage, evidence, files, made, spoken
from pointsman.node import memory as memories
from pointsman.node.agent import Agent
from pointsman.node.apply import TABLES, Host
from pointsman.node.config import Node, load_node, read_node
from pointsman.node.fleet import Fleet
from pointsman.node.force import Force
from pointsman.node.guards import closed_guard
from pointsman.node.paths import Paths, prepare
from pointsman.node.trees import compile_trees
from pointsman.node.workshop import Workshop
from pointsman.system import connections, nft
from pointsman.system.clock import boot_time
from pointsman.system.files import alone
from pointsman.system.log import Log
from pointsman.tunnels.drivers import child, drivers, link
from pointsman.tunnels.pool import Pool
from pointsman.tunnels.port import Berth, berth

READY_WITHIN = 30.0


def run(config: Path, observe: bool = False, confirm_within: int | None = None) -> None:
    """Run the agent in this process until it is told to end. The host stays as it is when it ends."""
    _demand_root()
    node = files.own(config)
    paths = Paths(node.runtime, node.state)
    prepare(paths)
    log = Log()
    with alone(paths.lock, "agent"):
        pool, (source, policy, warning), told = files.named(node, paths.policy)
        before = memories.recall(paths.memory)
        # until the host is steered, the time to get there comes on top; then the time begins anew
        confirm_by = before.confirm_by if confirm_within is None else boot_time() + READY_WITHIN / 2 + confirm_within
        memories.keep(paths.memory, replace(before, observe=observe, confirm_by=confirm_by))
        spoken_for = spoken.by_node(node, (supply.spec for supply in pool.supplies))
        fleet = Fleet(pool, drivers(spoken_for), node.runtime, node.tunnel_uid, link.look_at_all, log)
        trees = compile_trees(policy, node)
        force = Force(node, paths, Host(node, paths), fleet, source, trees, log, spoken_for)
        agent = Agent(force, log)
        applied.keep(paths.policy, source)
        if warning:
            agent.warnings.append(warning)
            log.event("the node file's policy is not in force", why=warning)
        for note in pool.notes:
            log.event("a line of a tunnel file has no effect", where=str(note.place), line=note.what)
        for one in told:
            log.event("a file for a gateway is not in order", where=str(one.place), why=one.what, hint=one.hint)
        coverage.tell(log, coverage.uncovered(policy, pool.supplies, lambda: trees.compiled))
        (paths.runtime / "node-file").write_text(str(config.resolve()))
        if not observe and not before.entries:
            _reset_open_connections(node, log)
        asyncio.run(_serve(agent, force, log, confirm_within))


def detached(config: Path, observe: bool = False, confirm_within: int | None = None) -> Path:
    """Start the agent apart from this process; return its runtime folder once no tunnel is on its way up any more."""
    _demand_root()
    node = files.own(config)
    paths = Paths(node.runtime, node.state)
    prepare(paths)
    with alone(paths.lock, "agent"):
        # one that runs already, and what is wrong with the files, are told here, and not by what the new one logs
        files.named(node, paths.policy)
    options = [
        *(["--observe"] if observe else []),
        *(["--confirm-within", f"{confirm_within}s"] if confirm_within else []),
    ]
    told = os.open(paths.runtime / "agent.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with os.fdopen(told, "ab") as log:
        os.fchmod(told, 0o600)
        child = subprocess.Popen(
            [sys.executable, "-m", "pointsman", "up", "-c", str(config.resolve()), *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    ready = paths.runtime / "ready"
    until = time.monotonic() + READY_WITHIN
    while time.monotonic() < until:
        if child.poll() is not None:
            words = (paths.runtime / "agent.log").read_text(errors="replace").strip().splitlines()[-12:]
            raise Fault("agent-ended", f"start the agent on `{config}`", "\n".join(words).removeprefix("error: "))
        if ready.exists() and ready.read_text() == str(child.pid):
            return paths.runtime
        time.sleep(0.05)
    raise Fault(
        "agent-slow",
        f"start the agent on `{config}`",
        f"not ready after {READY_WITHIN:.0f} s; see {paths.runtime}/agent.log",
    )


def close(config: Path) -> bool:
    """Put the closed guard in place, unless a guard of ours stands already; return whether it was put."""
    _demand_root()
    node = load_node(config)
    if set(TABLES) <= set(nft.list_tables()):
        return False
    nft.apply_rules(guard_text(closed_guard(node)))
    return True


def remove(config: Path) -> tuple[bool, tuple[Fault, ...]]:
    """Remove all that is ours from a host where no agent runs, the guard last.

    Return whether there was anything, and what failed. Of what the node file names nothing needs to be whole.
    """
    _demand_root()
    node = load_node(config)
    paths = Paths(node.runtime, node.state)
    prepare(paths)
    with alone(paths.lock, "agent"):
        stood = paths.memory.exists() or bool(set(TABLES) & set(nft.list_tables()))
        names = (*(entry.name for entry in node.entries if entry.kind is not Kind.DIRECT), *made.names(paths.made))
        places = [berth(node.runtime, name, node.tunnel_uid, node.tunnel_uid) for name in names]
        host, log = Host(node, paths), Log()
        fleet = Fleet(Pool(()), drivers(), node.runtime, node.tunnel_uid, link.look_at_all, log)
        workshop = Workshop(node.gateways, paths.made, fleet, _unsettled, log)
        faults = [*made.discard_damaged(paths.made), *asyncio.run(_give_back(workshop))]
        ends: list[Callable[[], None]] = [host.stop_proxy, *(partial(_end, place) for place in places)]
        with ThreadPoolExecutor() as together:
            faults += [fault for fault in together.map(_fault_of, ends) if fault is not None]
        faults += asyncio.run(fleet.sweep())
        host.remove()
        for path in (paths.memory, paths.names):
            path.unlink(missing_ok=True)
    return stood, tuple(faults)


async def _give_back(workshop: Workshop) -> tuple[Fault, ...]:
    """Tell gateways that their tunnels are needed no more."""
    workshop.restore()
    return await workshop.close()


async def _unsettled() -> None:
    """Nothing is in force any more."""


def _fault_of(step: Callable[[], None]) -> Fault | None:
    try:
        step()
    except Fault as fault:
        return fault
    return None


def _end(place: Berth) -> None:
    child.end(place)
    link.remove(place)
    child.clear(place)


def node_file(runtime: Path) -> Path | None:
    """Return the node file that the agent at this runtime folder was last started with."""
    try:
        return Path((runtime / "node-file").read_text())
    except FileNotFoundError:
        return None


def evidence_of(runtime: Path, since: float, until: float) -> dict[str, Any]:
    """Return what the agents at this runtime folder have proven from `since` to `until`, seconds of the Unix clock."""
    file = node_file(runtime)
    if file is None:
        raise Fault("no-node", f"look for evidence of the agent at `{runtime}`", "none was ever started there")
    lines, unreadable = evidence.recall(Paths(runtime, read_node(file).state).evidence, since)
    return evidence.sum_up(lines, since, until, unreadable)


async def _serve(agent: Agent, force: Force, log: Log, confirm_within: int | None) -> None:
    paths = force.paths
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, force.stop)
    await agent.start()
    runner = await control.serve(agent, agent.orders, force.provision, paths.control)
    try:
        running = asyncio.create_task(agent.run())
        await _announce(agent, paths, running, confirm_within)
        await running
    finally:
        (paths.runtime / "ready").unlink(missing_ok=True)
        await runner.cleanup()
        paths.control.unlink(missing_ok=True)
    log.event("the agent ends")


async def _announce(agent: Agent, paths: Paths, running: "asyncio.Task[None]", confirm_within: int | None) -> None:
    settled = asyncio.ensure_future(agent.settled.wait())
    await asyncio.wait((settled, running), timeout=READY_WITHIN / 2, return_when=asyncio.FIRST_COMPLETED)
    settled.cancel()
    if confirm_within is not None:
        await agent.orders.demand_confirm(confirm_within)
    (paths.runtime / "ready").write_text(str(os.getpid()))


def _reset_open_connections(node: Node, log: Log) -> None:
    """Connections that stand from before are not captured: they are named, and end."""
    free = {node.proxy_uid, node.tunnel_uid, *node.exempt_uids}
    found = [
        one
        for one in connections.standing()
        if one.leaves and one.uid not in free and one.local_port not in node.inbound
    ]
    for one in found:
        local, remote = one.points
        log.event("an open connection is reset", local=local, remote=remote, uid=one.uid)
    connections.reset(found)


def _demand_root() -> None:
    if os.geteuid() != 0:
        raise Fault("not-root", "steer this host", "this needs root")
