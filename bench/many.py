"""Many tunnels: two hundred that stand on one node, and the choice among ten thousand."""

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from bench import figures
from bench.figures import Figures
from bench.place import processor_seconds, resident_mb
from bench.standing import ALLOWED, Standing, first_byte, standing
from pointsman.lab.wait import until
from pointsman.model.profile import Level, Profile
from pointsman.model.tunnel import Kind, State, Tunnel
from pointsman.tunnels.select import Chosen, select

_AT_ONCE = 10
_MOST_SECONDS = 150.0
_FLOWS = 5
_SETTLED, _WATCHED = 3.0, 8.0


def many(count: int) -> Figures:
    """Have so many holders with a tunnel each, then see what one turn that looks at all of them takes."""
    with standing("many", 0, 0) as place:
        before = resident_mb(place.agent)
        begun = time.monotonic()
        failed = sum(_held(place, count, begun + _MOST_SECONDS))
        filled = time.monotonic() - begun
        made = len(place.told()["leases"])
        time.sleep(_SETTLED)
        used, since = processor_seconds(place.agent), time.monotonic()
        time.sleep(_WATCHED)
        share = (processor_seconds(place.agent) - used) / (time.monotonic() - since)
        turns = _turns(place)
        after = resident_mb(place.agent)
    return {
        f"reconcile_{count}_s": round(statistics.median(turns), 3),
        f"reconcile_{count}_max_s": round(max(turns), 3),
        "many_made": made,
        "many_made_within_s": round(filled, 1),
        "many_refused": failed,
        "many_agent_mb": after,
        "many_agent_kb_per_tunnel": round(1000 * (after - before) / max(1, made)),
        "many_agent_processor_share": round(share, 3),
    }


def selection(count: int) -> Figures:
    """Choose one of so many tunnels for a few flows in turn, a third of the tunnels unfit."""
    tunnels = tuple(_offers(count))
    profile = Profile("vault", Level.STRONG)
    first: list[float] = []
    again: list[float] = []
    for number in range(100):
        begun = time.perf_counter()
        chosen = select(profile, tunnels, (), f"flow-{number % _FLOWS}")
        (first if number < _FLOWS else again).append(time.perf_counter() - begun)
        if not isinstance(chosen, Chosen):
            raise TypeError("no tunnel was chosen")
    return {
        f"select_{count}_s": round(statistics.median(again), 5),
        f"select_{count}_p99_s": round(figures.percentile(again, 0.99), 5),
        f"select_{count}_first_s": round(statistics.median(first), 5),
    }


def _held(place: Standing, count: int, until_then: float) -> Iterator[int]:
    """Have so many users ask until they have a tunnel, a few at a time, and yield how often they were refused."""

    def hold(number: int) -> int:
        refused, token = 0, place.token(f"many-{number}")
        while time.monotonic() < until_then and first_byte(f"/own/many-{number}", token)[1] != ALLOWED:
            refused += 1
        return refused

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for begun in range(0, count, 50):
            yield sum(pool.map(hold, range(begun, min(count, begun + 50))))
            print(f"  holders: {len(place.told()['leases'])} of {count}", flush=True)


def _turns(place: Standing) -> list[float]:
    """Return what a few turns took, the one that was under way at first left out."""
    found: dict[int, float] = {}

    def seen() -> bool:
        turn = place.status()["turn"]
        found[turn["number"]] = turn["seconds"]
        return len(found) > 6

    until(seen, "turns end", within=_MOST_SECONDS, every=0.7)
    return list(found.values())[1:]


def _offers(count: int) -> Iterator[Tunnel]:
    for number in range(count):
        level = Level.ENCRYPTED if number % 3 == 0 else Level.STRONG
        yield Tunnel(
            f"tunnel-{number}", Kind.WIREGUARD, level, (("region", "eu"),), State.UP, "", ("10.0.0.1",), (), 0, 1420
        )
