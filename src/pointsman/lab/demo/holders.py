"""The life of one holder's tunnel: it appears, its keys are renewed, its gateway dies, and it is taken away."""

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

from pointsman.lab import exec as on
from pointsman.lab import gateway, instance, world
from pointsman.lab.demo.judge import OK, Held, Observed, Ways, differences, settled, shared
from pointsman.lab.demo.judging import Judging, Row
from pointsman.lab.demo.script import ADA, ANN, Call
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.system.admin import Admin

# It lives, and takes in nothing, tunnel packets and questions included
_HOLE = "table inet hole { chain in { type filter hook prerouting priority -400; policy drop; }; }"
# How often somebody asks while keys are renewed, at least
OFTEN = 100
REFUSED = 503
# In seconds: how long another tunnel may take, how far apart somebody asks for it, and how long a revoked one is barred
BACK_WITHIN = 10.0
PATIENT = 0.05
BAN = 3600.0


def appear(judging: Judging) -> None:
    """Users ask for the first time, and again while nobody is there who could give them a tunnel."""
    judging.tell.stage("a tunnel for each admin: the first request waits while it is made")
    for call in (ADA, ANN):
        judging.call(call, judging.ways())
    ways = judging.ways()
    _known(judging.lab, ways)
    with _held_still(judging.lab):
        for call in (ADA, ANN):
            judging.call(call, ways, told="the agent is stopped: later requests ask nobody")


def rotate(judging: Judging) -> None:
    """Have new keys for a tunnel while its holder goes on asking: no request fails."""
    before = _holding(judging, ADA)
    if before is None:
        return
    judging.tell.stage("new keys for ada's tunnel, while she goes on asking")
    wanted = judging.judge(ADA, judging.ways())
    with ThreadPoolExecutor(1) as apart:
        rotated = apart.submit(instance.rotate, judging.lab, before.tunnel)
        answers, sources = judging.burst(ADA, wanted, lambda found: rotated.done() and len(found) >= OFTEN)
    after = judging.judge(ADA, judging.ways())
    either = replace(after, sources=(*wanted.sources, *after.sources))
    failed = len(answers) - answers.count(OK)
    found = [f"{failed} of {len(answers)} requests failed"] if failed else []
    found += [f"{len(sources)} reached the origin, {len(answers)} were made"] if len(sources) != len(answers) else []
    found += ["its tunnel is still the same"] if after.tunnel == before.tunnel else []
    found += [f"its tunnel is {after.tunnel}, not {rotated.result()}"] if after.tunnel != rotated.result() else []
    found += differences(either, Observed(OK, tuple(dict.fromkeys(sources))[:1]))
    found += [f"came from {source}" for source in {*sources} - {*either.sources}]
    told = f"{before.tunnel} is replaced: {failed} of {len(answers)} requests failed"
    judging.show(Row(ADA, after, Observed(OK, sources[-1:]), str(OK), tuple(found), told))


def fail_over(judging: Judging) -> str:
    """Let the gateway of a holder's tunnel fall silent: all go on by another one. Return the silent one's host."""
    before = _holding(judging, ADA)
    if before is None:
        return ""
    judging.tell.stage(f"gateway {before.gateway} falls silent: its users get tunnels at another one")
    on.demand(judging.lab, before.gateway, ["nft", "-f", "-"], given=_HOLE)
    for call in (ADA, ANN):
        _go_on(judging, call, before.gateway)
    return before.gateway


def revoke(judging: Judging, dead: str) -> None:
    """Take a holder's tunnel away: it is gone here and at its gateway, and the holder gets no other."""
    before = _holding(judging, ADA)
    if before is None:
        return
    lab, wanted = judging.lab, judging.judge(ADA, judging.ways())
    judging.tell.stage("ada's tunnel is taken away; ann's is not")
    tunnels = {one["name"]: one["device"] for one in instance.agent_status(lab)["tunnels"]}
    instance.revoke(lab, wanted.profile, wanted.holder, BAN)
    link = tunnels[before.tunnel]
    left = [f"{before.gateway} still has {before.tunnel}"] if gateway.has(lab, before.gateway, before.tunnel) else []
    left += [f"link {link} is still there"] if link in _links(lab) else []
    gone = "" if left else f"gone at {before.gateway}, which was asked: {before.tunnel}; gone here: {link}"
    ways = judging.ways({dead}, {(wanted.profile, wanted.holder)})
    judging.call(ADA, ways, tuple(left), gone)
    judging.call(ANN, ways)


def _go_on(judging: Judging, call: Call, dead: str) -> None:
    """Ask until there is an answer; what goes through the dead gateway is refused until another tunnel is there."""
    wanted = judging.judge(call, judging.ways({dead}))
    begun = time.monotonic()
    answers, sources = judging.burst(
        call, wanted, lambda found: found[-1:] == [OK] or _past(begun, BACK_WITHIN), pause=PATIENT
    )
    seconds = time.monotonic() - begun
    ways = judging.ways({dead})
    wanted = settled(wanted, ways)
    seen = Observed(answers[-1], sources, seconds=seconds)
    odd = tuple(f"answer {answer}" for answer in {*answers} - {OK, REFUSED})
    refused = answers.count(REFUSED)
    told = f"answered after {seconds:.1f} s; {refused} requests were refused before" if refused else "answered at once"
    differs = (*differences(wanted, seen), *shared(wanted, ways), *odd)
    judging.show(Row(call, wanted, seen, str(answers[-1]), differs, told))


def _past(begun: float, seconds: float) -> bool:
    return time.monotonic() - begun > seconds


def _holding(judging: Judging, call: Call) -> Held | None:
    """Return what the one who makes this call holds; where it is nothing there is nothing to show."""
    ways = judging.ways()
    wanted = judging.judge(call, ways)
    return ways.held.get((wanted.profile, wanted.holder))


def _known(lab: Lab, ways: Ways) -> None:
    """Wait until the proxy itself knows all holders, so that it needs to ask nobody."""
    routes, admin = lab.runtime / "envoy" / "rds" / "rds.json", Admin(str(lab.runtime / "proxy" / "admin.sock"))

    def known() -> bool:
        text = routes.read_text()
        named = all(f"{profile}@{held.tunnel}" in text for (profile, _), held in ways.held.items())
        return named and admin.applied()["rds"].version == json.loads(text)["version_info"]

    until(known, "the proxy knows who holds which tunnel", lab.log(world.INSTANCE, "agent"))


@contextmanager
def _held_still(lab: Lab) -> Iterator[None]:
    """Have an agent that does nothing while the block runs."""
    agent = int((lab.runtime / "ready").read_text())
    os.kill(agent, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(agent, signal.SIGCONT)


def _links(lab: Lab) -> set[str]:
    return {one["ifname"] for one in json.loads(on.demand(lab, world.INSTANCE, ["ip", "-j", "link"]))}
