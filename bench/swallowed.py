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
FIRST = "wg-a"
_PAIR = tuple(gateway for gateway in world.GATEWAYS if gateway.tunnel in (FIRST, "wg-b"))
_CALM = 1.0
_CALLERS = ("GET",) * 6 + ("POST",) * 2


def failover(times: int) -> Figures:
    """Swallow the path of a profile again and again under load, whichever it is on; at last let it go back."""
    took = []
    with standing("failover", 0, 0) as place:
        _until_carried(place, FIRST)
        with askers.asking([Caller("/shared/load", method) for method in _CALLERS]) as found:
            for number in range(1, times + 1):
                took.append(_die(place, found))
                step(number, times, "failovers")
            if _carrier(place) == FIRST:
                took.append(_die(place, found))
            begun = time.monotonic()
            _until_carried(place, FIRST)
            time.sleep(1)  # requests go by the first tunnel again
        doubled = askers.repeated(instance.reached(place.lab))
    returned = [one for one in found if one.begun >= begun]
    return {
        "failover_p99_s": round(figures.percentile(took, 0.99), 3),
        "failover_p50_s": round(statistics.median(took), 3),
        "failover_lost_idempotent": askers.lost(found),
        "failover_refused_posts": askers.lost(found, "POST"),
        "failover_repeated_posts": doubled,
        "failover_requests": len(found),
        "failover_slowest_request_s": round(max(one.ended - one.begun for one in found), 3),
        "failback_lost": sum(not one.answered for one in returned),
        "failback_requests": len(returned),
        "failovers": [round(one, 3) for one in took],
    }


def _die(place: Standing, found: list[Asked]) -> float:
    """Return the seconds from a dead path to the first answer through the other tunnel; the path is well again then."""
    carrier = _carrier(place)
    backup = next(gateway for gateway in _PAIR if gateway.tunnel != carrier)
    gateway = next(gateway for gateway in _PAIR if gateway.tunnel == carrier)
    source = backup.seen_as[0]
    time.sleep(_CALM)  # nobody waits for an answer through the backup any more
    begun = time.monotonic()
    with swallowing(place.lab, gateway.host):
        until(lambda: askers.first_through(tuple(found[-500:]), source, begun) is not None, "the backup answers")
        _until_carried(place, backup.tunnel)
    _until_up(place, carrier)
    return askers.first_through(tuple(found), source, begun) or 0.0


@contextmanager
def swallowing(lab: Lab, gateway: str) -> Iterator[None]:
    """Let a gateway take in nothing while the block runs, tunnel packets included: it lives, and says nothing."""
    on.demand(lab, gateway, ["nft", "-f", "-"], given=_HOLE)
    try:
        yield
    finally:
        on.demand(lab, gateway, ["nft", "delete", "table", "inet", "hole"])


def _carrier(place: Standing) -> str:
    return next(str(one["tunnel"]) for one in place.status()["profiles"] if one["name"] == SHARED)


def _until_carried(place: Standing, tunnel: str) -> None:
    until(lambda: _carrier(place) == tunnel, f"{tunnel} carries the profile", within=60, every=0.2)


def _until_up(place: Standing, tunnel: str) -> None:
    def up() -> bool:
        return any(one["name"] == tunnel and one["state"] == "up" for one in place.status()["tunnels"])

    until(up, f"{tunnel} is up", within=30, every=0.2)
