"""Faults on the way to a tunnel of one's own: the agent that gives it, its socket, and those who ask for too many."""

import os
import secrets
import signal
import sys
import time
from pathlib import Path

from pointsman.lab import exec as on
from pointsman.lab import instance, world
from pointsman.lab.attacks.bench import Bench
from pointsman.lab.attacks.trouble import held, state, swallowing
from pointsman.lab.wait import until
from pointsman.tunnels import demand

# Whoever can do one of these could answer for the agent
_TAKE_OVER = """
import os, socket, sys
path, folder, said = sys.argv[1], os.path.dirname(sys.argv[1]), []
def does(name, what):
    try: what(); said.append(name)
    except OSError: pass
def connect():
    with socket.socket(socket.AF_UNIX) as line: line.connect(path)
def bind():
    with socket.socket(socket.AF_UNIX) as door: door.bind(folder + "/other"); os.unlink(folder + "/other")
does("connect", connect); does("bind", bind); does("list", lambda: os.listdir(folder))
if os.getuid(): does("unlink", lambda: os.unlink(path)); does("rename", lambda: os.rename(folder, folder + "-old"))
print(" ".join(said) or "nothing")
"""


def agent_dead(bench: Bench) -> str:
    """Kill the agent: who has a tunnel keeps it, who has none is refused, and given one when the agent is back."""
    known(bench, "ada")
    for pid in bench.pids("agent"):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not bench.pids("agent"), "the agent ends")
    begun = time.monotonic()
    new = own(bench, "eve")
    took = time.monotonic() - begun
    said = f"known {own(bench, 'ada')}, new {new} ({took:.2f} s), {held(bench)}"
    bench.start_agent()
    return f"{said}, back {own(bench, 'eve')}"


def agent_stopped(bench: Bench) -> str:
    """Stop the agent for longer than a request waits: what it says afterwards moves nothing."""
    known(bench, "ada")
    agents = bench.pids("agent")
    for pid in agents:
        os.kill(pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        path = f"/own/{secrets.token_hex(6)}"
        new = own(bench, "late", path)
        took = time.monotonic() - begun
        kept = own(bench, "ada")
    finally:
        for pid in agents:
            os.kill(pid, signal.SIGCONT)
    until(lambda: own(bench, "late") == "ROUTE", "the holder has its tunnel", within=20)
    late = [one for one in instance.reached(bench.lab) if str(one["path"]).startswith(path)]
    return f"known {kept}, new {new} ({took:.1f} s), {'nothing sent late' if not late else 'SENT LATE'}"


def socket_removed(bench: Bench) -> str:
    """Remove the agent's socket and have the proxy connect anew."""
    known(bench, "ada")
    (bench.lab.runtime / "asked" / "socket").unlink()
    for pid in bench.pids("envoy"):
        os.kill(pid, signal.SIGKILL)
    bench.until_routed()
    begun = time.monotonic()
    met: set[str] = set()
    while (said := own(bench, f"gone-{len(met)}")) != "ROUTE" and time.monotonic() - begun < 10:
        met.add(said)
    return f"known {own(bench, 'ada')}, FC ({' '.join(sorted(met)) or 'nothing'}), {held(bench)}, new {said}"


def socket_of_another_user(bench: Bench) -> str:
    """Try as an application to speak with the agent's socket, and to put another in its place; as root it works."""
    argv = [sys.executable, "-I", "-c", _TAKE_OVER, str(bench.lab.runtime / "asked" / "socket")]
    users = [on.run(bench.lab, world.INSTANCE, argv, uid=uid).stdout.strip() for uid in (2001, 2003, world.TUNNEL_USER)]
    root = on.run(bench.lab, world.INSTANCE, argv).stdout.strip()
    proxy = on.run(bench.lab, world.INSTANCE, argv, uid=world.PROXY_USER).stdout.strip()
    return f"root: {root}, proxy: {proxy}, users: {' '.join(sorted(set(users)))}"


def swallowed_inside(bench: Bench) -> str:
    """Drop what comes out of the tunnel at its gateway, while handshakes go on."""
    bench.until_routed()
    with swallowing(bench, "gw-a", 'iifname "wg0"'):
        begun = time.monotonic()
        until(lambda: state(bench, "wg-a") == "failed", "the dead path is known", within=10)
        took = time.monotonic() - begun
        met = bench.ask()
        told = next(one for one in instance.agent_status(bench.lab)["tunnels"] if one["name"] == "wg-a")
    fresh = "fresh handshake" if told["handshake_age"] is not None and told["handshake_age"] < 180 else "no handshake"
    bench.until_routed(within=30)
    return f"{fresh} ({told['handshake_age']:.0f} s), FAILED ({took:.1f} s), {met}, ROUTE({bench.ask()})"


def many_leases(bench: Bench) -> str:
    """Give a holder a tunnel and take it away, again and again. Spares follow demand, and go when it is forgotten."""
    known(bench, "ada")
    until(lambda: _at_rest(bench), "no spares but the least", within=demand.RECENT + 30, every=0.5)
    before = _size(bench)
    for number in range(12):
        if (said := own(bench, f"cycle-{number}")) != "ROUTE":
            return f"cycle {number}: {said}"
        revoke(bench, f"cycle-{number}")
    until(lambda: _fits(_size(bench), before), f"{before} again", within=demand.RECENT + 30, every=0.5)
    return f"nothing grew (devices, rules, routes, files: {before})"


def many_claimed_holders(bench: Bench) -> str:
    """Claim to be many holders, as one user."""
    known(bench, "ada")
    said = [own(bench, f"claimed-{number}") for number in range(10)]
    leases = bench.leases()
    for lease in leases:
        revoke(bench, lease)
    given = f"{said.count('ROUTE')} of {len(said)}"
    others = set(said) - {"ROUTE"}
    return (
        f"bounded ({given}; {' '.join(others)}; {len(leases)} leases), ROUTE({bench.ask()})"
        if (len(leases) <= 6 and others == {"503"})
        else f"{given}, {sorted(others)}, {len(leases)} leases"
    )


def own(bench: Bench, tenant: str, path: str = "/own/x") -> str:
    """Make a request of a holder; return `ROUTE` if it left by a tunnel of the gateways that may give one."""
    said = bench.ask(headers=f"x-tenant: {tenant}\r\n", path=path)
    return "ROUTE" if said in {"wg-a", "wg-b"} else said


def known(bench: Bench, tenant: str) -> None:
    """Return once a holder, and nobody else, has a tunnel that the proxy knows of by itself."""
    for other in bench.leases():
        if other != tenant:
            revoke(bench, other)
    compiled = bench.lab.runtime / "envoy" / "rds" / "rds.json"
    until(lambda: own(bench, tenant) == "ROUTE", f"`{tenant}` has a tunnel", within=20)
    until(lambda: f"own@{bench.leases()[tenant]}" in compiled.read_text(), "the tree knows the holder", within=10)


def revoke(bench: Bench, tenant: str) -> None:
    """Take a holder's tunnel away."""
    bench.post("/v1/leases/revoke", {"profile": "own", "holder": tenant, "ban": 0})


def _at_rest(bench: Bench) -> bool:
    """Say whether nobody leaves and one spare waits at each gateway, as when nobody has asked for any lately."""
    with bench.line() as line:
        told = line.get("/v1/leases").json()
    up = all(one["state"] == "up" for one in bench.status()["tunnels"])
    return up and not told["leaving"] and len(told["spares"]) == len(world.GATEWAYS)


def _fits(size: tuple[int, ...], before: tuple[int, ...]) -> bool:
    # a few open files come and go with whoever asks
    return all(now <= then for now, then in zip(size[:-1], before[:-1], strict=True)) and size[-1] <= before[-1] + 5


def _size(bench: Bench) -> tuple[int, ...]:
    devices = [line for line in bench.on("ip", "-br", "link").splitlines() if line.startswith("pm")]
    rules, routes = (bench.on("ip", *words).splitlines() for words in (("rule",), ("route", "show", "table", "all")))
    open_files = sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in bench.pids("agent"))
    return len(devices), len(rules), len(routes), open_files


FAULTS = (
    agent_dead,
    agent_stopped,
    socket_removed,
    socket_of_another_user,
    swallowed_inside,
    many_leases,
    many_claimed_holders,
)
