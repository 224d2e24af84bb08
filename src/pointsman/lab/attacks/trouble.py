"""What faults have in common: things to break for a while, traffic that runs beside, how it went."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pointsman.lab import exec as on
from pointsman.lab import instance, world
from pointsman.lab.attacks import load, neighbour
from pointsman.lab.attacks.bench import Bench

API = "198.51.100.81"
REFUSALS = {"503", "CLOSED", "REFUSED", "SILENCE"}


def broken(bench: Bench, breaks: Callable[[], object]) -> str:
    """Break something of the way by wg-a; return what requests met until it was whole again, and how long it took."""
    bench.until_routed()
    breaks()
    begun = time.monotonic()
    seen: list[str] = []
    well = 0
    while time.monotonic() - begun < 25 and well < 4:
        said = bench.ask()
        seen.append(said)
        well = well + 1 if said == "wg-a" else 0
    others = set(seen) - REFUSALS - {"wg-a"}
    took = time.monotonic() - begun
    met = ", ".join(sorted(set(seen) - {"wg-a"})) or "nothing"
    safe = "FC" if not others else f"OTHER {others} {_decided(bench, others)}"
    return f"{safe} ({met.replace(', ', ' ')}), " + (f"REPAIRED ({took:.1f} s)" if well else "NOT REPAIRED")


def _decided(bench: Bench, statuses: set[str]) -> str:
    """Return the last decision records with one of these statuses: the rule and what it rests on."""
    lines = (bench.lab.runtime / "proxy" / "decisions.log").read_text().splitlines()
    return " ".join([line for line in lines if str(json.loads(line).get("code")) in statuses][-3:])


@contextmanager
def traffic(bench: Bench, kind: str, seconds: float, uid: int = 2001) -> Iterator[dict[str, int]]:
    """Have traffic of a user run for so long beside the block; its counts are there when the block is left."""
    argv = [sys.executable, "-I", load.__file__, kind, str(uid), bench.witness.canary.decode(), str(seconds)]
    running = subprocess.Popen(on.command(bench.lab, world.INSTANCE, argv), stdout=subprocess.PIPE, text=True)
    counts: dict[str, int] = {}
    try:
        time.sleep(0.5)
        yield counts
        counts.update(json.loads(running.communicate(timeout=seconds + 30)[0].strip()))
    finally:
        running.kill()
        running.wait()


@contextmanager
def swallowing(bench: Bench, host: str, what: str = "") -> Iterator[None]:
    """Have a gateway take in nothing while the block runs, or nothing of `what`: it lives, and says nothing."""
    table = f"table inet hole {{ chain in {{ type filter hook prerouting priority -400; {what} drop; }}; }}"
    on.demand(bench.lab, host, ["nft", "-f", "-"], given=table)
    try:
        yield
    finally:
        on.demand(bench.lab, host, ["nft", "delete", "table", "inet", "hole"])


def state(bench: Bench, tunnel: str) -> str:
    """Return where a tunnel is in its life."""
    found = instance.agent_status(bench.lab)["tunnels"]
    return str(next(one["state"] for one in found if one["name"] == tunnel))


@contextmanager
def changed(bench: Bench, there: str, back: str) -> Iterator[None]:
    """Have something of the instance's network changed by `ip` while the block runs."""
    bench.on("ip", *there.split())
    try:
        yield
    finally:
        bench.on("ip", *back.split())


def near(bench: Bench, *words: str) -> str:
    """Do something as a neighbour on the local network."""
    return bench.on(sys.executable, "-I", neighbour.__file__, *words, host=world.ROUTER).strip()


def held(bench: Bench) -> str:
    """Return whether the witness still sees nothing of what root sends."""
    return "HELD" if bench.witness.control() == 0 else "OPEN"


def told(counts: dict[str, int]) -> str:
    """Return counts as words."""
    return "; ".join(f"{name}: {count}" for name, count in counts.items())
