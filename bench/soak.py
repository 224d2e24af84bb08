"""Things happen to a node under load, at random: what becomes of its requests, and does any leave it in clear?"""

import argparse
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from bench import askers, faults, figures
from bench.askers import NOTHING, Asked, Caller
from bench.faults import Struck
from bench.place import inside
from bench.standing import prepared
from pointsman.lab import clients, instance, world
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.lab.watch import CONTROL_FRAMES, Witness, witness
from pointsman.model.fault import Fault
from pointsman.node.paths import Paths
from pointsman.system.admin import Admin

_USERS = 3
_PAUSE = 0.02
_CALM = 2.0
_HEALED_WITHIN = 60.0
_SURE = 1.5
_RETRIES = "upstream_rq_retry$"


@dataclass(frozen=True, slots=True)
class Blow:
    """One fault: what it hit, from when to when nothing of it was left, and whether there was a backup meanwhile."""

    what: str
    begun: float
    ended: float
    backup: bool


def main() -> None:
    """Soak, tell what was found, and exit with 1 where anything leaked or was lost that need not have been."""
    options = argparse.ArgumentParser(prog="./dev soak", description=__doc__)
    options.add_argument("--minutes", type=float, default=10.0)
    options.add_argument("--seed", type=int, default=secrets.randbelow(1000), help="of the faults and their moments")
    options.add_argument("--json", action="store_true", help="the last line is one JSON object")
    given = options.parse_args()
    print(f"soak: {given.minutes:g} minutes, seed {given.seed}", flush=True)
    found = _soak(given.minutes * 60, random.Random(given.seed))  # noqa: S311 -- the same moments for a seed
    figures.tell({**found, "seed": given.seed, "machine": figures.machine()}, given.json)
    if any(found[name] for name in ("leaked", "lost_idempotent", "repeated_posts")):
        sys.exit(1)


def judged(found: Iterable[Asked], blows: Sequence[Blow]) -> dict[str, int]:
    """Return what became of all requests.

    Refused are those with a clear error, broken those whose connection ended without an answer. Lost are idempotent
    ones that had a backup: of the profile that has two tunnels, and at no moment without a proxy.
    """
    whole = tuple(found)
    bare = [blow for blow in blows if not blow.backup]
    excused = [one for one in whole if any(one.begun <= blow.ended and blow.begun <= one.ended for blow in bare)]
    return {
        "sent": len(whole),
        "answered": sum(one.answered for one in whole),
        "refused": sum(not one.answered and one.status != NOTHING for one in whole),
        "broken": sum(one.status == NOTHING for one in whole),
        "lost_idempotent": askers.lost(one for one in whole if _shared(one)) - askers.lost(filter(_shared, excused)),
    }


def _shared(one: Asked) -> bool:
    return one.path.startswith("/shared/")


def _soak(seconds: float, dice: random.Random) -> dict[str, object]:
    with prepared("soak", 1, 4) as lab, witness(lab) as watching:
        if watching.control() != CONTROL_FRAMES:
            raise Fault("lab-witness", "see the positive control", "the witness is blind")
        struck = Struck(lab, instance.start_agent(lab), dice)
        if watching.control():
            raise Fault("lab-witness", "be held by the guard", "the control left the instance")
        with inside(lab.namespace(world.INSTANCE)):
            _until_whole(lab)
            retries = _Retries(lab)
            with askers.asking(_callers(lab, watching, seconds)) as found:
                blows = _strike(struck, watching, found, retries, time.monotonic() + seconds)
        answers = judged(found, blows)
        return {
            **answers,
            "retried": retries.counted,
            "leaked": watching.leaked(),
            "repeated_posts": askers.repeated(instance.reached(lab)),
            "faults": dict(Counter(blow.what for blow in blows)),
            "slowest_healing_s": round(max((blow.ended - blow.begun for blow in blows), default=0.0), 1),
        }


def _callers(lab: Lab, watching: Witness, seconds: float) -> list[Caller]:
    """Return who asks: readers and writers of a shared profile, and of one on OpenVPN; users with their own tunnels."""
    canary = ("x-canary", watching.canary.decode())
    shared = [Caller("/shared/soak", method, (canary,), _PAUSE) for method in ("GET",) * 4 + ("POST",) * 2]
    lifetime = int(seconds) + 600
    tokens = {f"soak-{n}": clients.token(lab, sub=f"soak-{n}", lifetime=lifetime) for n in range(_USERS)}
    own = [Caller(f"/own/{user}", "GET", (canary, ("x-identity-token", t)), _PAUSE) for user, t in tokens.items()]
    single = [Caller("/single/soak", method, (canary,), _PAUSE) for method in ("GET", "POST")]
    return [*shared, *single, *own]


def _strike(
    struck: Struck, watching: Witness, found: Sequence[Asked], retries: "_Retries", until_then: float
) -> list[Blow]:
    """Let one thing after the other happen, each when the last has healed."""
    blows: list[Blow] = []
    while time.monotonic() < until_then:
        time.sleep(_CALM)
        retries.look()
        fault, begun = struck.dice.choice(faults.FAULTS), time.monotonic()
        with fault(struck) as what:
            faults.endure(struck)
        blows.append(Blow(what, begun, _until_whole(struck.lab), fault not in faults.NO_BACKUP))
        told = judged(tuple(found), blows)
        print(
            f"  {len(blows)}: {what}, whole again after {blows[-1].ended - begun:.1f} s; sent {told['sent']}, "
            f"refused {told['refused']}, broken {told['broken']}, lost {told['lost_idempotent']}, "
            f"leaked {watching.leaked()}",
            flush=True,
        )
    retries.look()
    return blows


def _until_whole(lab: Lab) -> float:
    """Return since when the agent is there, open, and all tunnels of its pool are up, once that is sure.

    That a path is dead is known in less than a second: what is whole for longer was not just hit.
    """
    pool = {gateway.tunnel for gateway in world.GATEWAYS}
    since: list[float] = []

    def sure() -> bool:
        if not whole():
            since.clear()
        elif not since:
            since.append(time.monotonic())
        return bool(since) and time.monotonic() - since[0] >= _SURE

    def whole() -> bool:
        with suppress(Fault):
            status = instance.agent_status(lab)
            up = {one["name"] for one in status["tunnels"] if one["state"] == "up"}
            return status["state"] == "open" and status["proxy"]["pid"] is not None and pool <= up
        return False

    until(sure, "everything is up again", lab.log(world.INSTANCE, "agent"), _HEALED_WITHIN, every=0.2)
    return since[0]


class _Retries:
    """How often the proxy has tried again, over all proxies that there were: each counts from zero."""

    def __init__(self, lab: Lab) -> None:
        self._admin = Admin(str(Paths(lab.runtime, lab.state).proxy / "admin.sock"))
        self.counted = 0
        self._last = 0

    def look(self) -> None:
        """Take in what the proxy has counted."""
        with suppress(Fault):
            lines = self._admin.ask("GET", f"/stats/prometheus?usedonly&filter={_RETRIES}").splitlines()
            now = sum(int(line.rpartition(" ")[2]) for line in lines if line and not line.startswith("#"))
            self.counted += now - self._last if now >= self._last else now
            self._last = now


if __name__ == "__main__":
    main()
