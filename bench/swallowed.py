"""A gateway that takes in nothing any more: how soon do requests go by the next tunnel, and are any lost?"""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench import askers, figures
from bench.askers import Asked, Caller
from bench.figures import Figures
from bench.standing import SHARED, Standing, standing, step
from pointsman.lab import exec as on
from pointsman.lab import instance, world
from pointsman.lab.names import Lab
from pointsman.lab.wait import until

_HOLE = "add table inet hole\nadd chain inet hole in { type filter hook input priority -200; policy drop; }\n"
_CALLERS = ("GET",) * 6 + ("POST",) * 2


def failover(times: int) -> Figures:
    """Swallow the path of a profile and give it back, again and again under load."""
    took, back = [], []
    with standing("failover", 0, 0) as place:
        _until_carried(place, "wg-a")
        with askers.asking([Caller("/shared/load", method) for method in _CALLERS]) as found:
            for number in range(1, times + 1):
                took.append(_die(place, found))
                back.append((time.monotonic(), _returned(place)))
                step(number, times, "failovers")
        doubled = askers.repeated(instance.reached(place.lab))
    returns = [one for one in found if any(begun <= one.begun <= ended for begun, ended in back)]
    return {
        "failover_p99_s": round(figures.percentile(took, 0.99), 3),
        "failover_p50_s": round(statistics.median(took), 3),
        "failover_lost_idempotent": askers.lost(found),
        "failover_refused_posts": askers.lost(found, "POST"),
        "failover_repeated_posts": doubled,
        "failover_requests": len(found),
        "failover_slowest_request_s": round(max(one.ended - one.begun for one in found), 3),
        "failback_lost": sum(not one.answered for one in returns),
        "failback_requests": len(returns),
        "failovers": [round(one, 3) for one in took],
    }


def _die(place: Standing, found: list[Asked]) -> float:
    """Return the seconds from a dead path to the first answer through the next tunnel."""
    backup = world.seen_as("wg-b")[0]
    begun = time.monotonic()
    with swallowing(place.lab, "gw-a"):
        until(lambda: askers.first_through(tuple(found[-500:]), backup, begun) is not None, "the next tunnel answers")
        _until_carried(place, "wg-b")
    return askers.first_through(tuple(found), backup, begun) or 0.0


def _returned(place: Standing) -> float:
    _until_carried(place, "wg-a")
    time.sleep(1)  # requests go by the first tunnel again
    return time.monotonic()


@contextmanager
def swallowing(lab: Lab, gateway: str) -> Iterator[None]:
    """Let a gateway take in nothing while the block runs, tunnel packets included: it lives, and says nothing."""
    on.demand(lab, gateway, ["nft", "-f", "-"], given=_HOLE)
    try:
        yield
    finally:
        on.demand(lab, gateway, ["nft", "delete", "table", "inet", "hole"])


def _until_carried(place: Standing, tunnel: str) -> None:
    def carries() -> bool:
        ways = {one["name"]: one["tunnel"] for one in place.status()["profiles"]}
        return str(ways[SHARED]) == tunnel

    until(carries, f"{tunnel} carries the profile", within=30, every=0.2)
