"""Tunnels of single holders: how long a first request waits for one, and what later ones cost."""

import http.client
import statistics
import time

from bench import askers, figures
from bench.askers import Caller
from bench.figures import Figures
from bench.standing import ADDRESS, ALLOWED, PORT, Standing, ask, first_byte, standing, step
from pointsman.lab.wait import until

_SETTLED = 0.5


def cold(samples: int) -> Figures:
    """Ask as a new user each time, with no spare tunnels: the tunnel is made while the request waits."""
    with standing("cold", 0, 0) as place:
        took = [_first(place, f"cold-{number}", number, samples) for number in range(1, samples + 1)]
    return _waits("cold", took)


def warm(samples: int) -> Figures:
    """Ask as a new user each time, with spare tunnels waiting."""
    took = []
    with standing("warm", 3, 8) as place:
        for number in range(1, samples + 1):
            _until_spare(place)
            took.append(_first(place, f"warm-{number}", number, samples))
    return _waits("warm", took)


def later(rounds: int) -> Figures:
    """Ask in turn by a tunnel of one's own and by a static one, each on a connection that is kept."""
    found: dict[str, list[float]] = {"/own/later": [], "/static/later": []}
    with standing("later", 0, 0) as place:
        token = place.token("later")
        if first_byte("/own/later", token)[1] != ALLOWED:
            raise RuntimeError("the first request was refused")
        place.compiled("later")
        lines = {path: http.client.HTTPConnection(ADDRESS, PORT, timeout=20) for path in found}
        for number in range(1, rounds + 1):
            for path, line in lines.items():
                took = [ask(line, path, token) for _ in range(100)]
                found[path].append(statistics.median(seconds for seconds, _ in took[20:]))
            step(number, rounds, "rounds of later requests")
    own, static = found.values()
    return {
        "later_vs_static": figures.ratio(zip(own, static, strict=True)),
        "later_p50_ms": round(1000 * statistics.median(own), 3),
        "static_p50_ms": round(1000 * statistics.median(static), 3),
        "later_rounds_ms": [[round(1000 * one, 3) for one in pair] for pair in zip(own, static, strict=True)],
    }


def rotation(times: int) -> Figures:
    """Replace the tunnel of a holder again and again while the holder asks."""
    with standing("rotation", 0, 0) as place:
        token = place.token("rota")
        if first_byte("/own/rota", token)[1] != ALLOWED:
            raise RuntimeError("the first request was refused")
        headers = (("x-identity-token", token),)
        callers = [Caller("/own/rota", method, headers) for method in ("GET", "GET", "GET", "POST")]
        took = []
        with askers.asking(callers) as found:
            for number in range(1, times + 1):
                begun = time.monotonic()
                place.client.post("/v1/leases/rotate", {"tunnel": place.lease("rota")})
                took.append(time.monotonic() - begun)
                time.sleep(1)
                step(number, times, "rotations")
    return {
        "rotation_lost": sum(not one.answered for one in found),
        "rotation_requests": len(found),
        "rotations": times,
        "rotation_p50_s": round(statistics.median(took), 3),
        "rotation_slowest_request_s": round(max(one.ended - one.begun for one in found), 3),
    }


def _first(place: Standing, user: str, number: int, of: int) -> float:
    """Return how long a user's first request waits; the user's tunnel is taken away again."""
    took, status = first_byte(f"/own/{user}", place.token(user))
    if status != ALLOWED:
        raise RuntimeError(f"the first request of {user} was answered with {status}")
    place.revoke(user)
    step(number, of, "first requests")
    return took


def _until_spare(place: Standing) -> None:
    """Return when spare tunnels are up and in force at both gateways."""

    def ready() -> bool:
        states = {one["name"]: one["state"] for one in place.status()["tunnels"]}
        up = {one["gateway"] for one in place.told()["spares"] if states.get(one["tunnel"]) == "up"}
        return len(up) == 2

    until(ready, "spare tunnels wait", within=30, every=0.2)
    time.sleep(_SETTLED)


def _waits(name: str, took: list[float]) -> Figures:
    return {
        f"{name}_p50_s": round(statistics.median(took), 3),
        f"{name}_p99_s": round(figures.percentile(took, 0.99), 3),
        f"{name}_max_s": round(max(took), 3),
        f"{name}_waits": [round(one, 3) for one in took],
    }
