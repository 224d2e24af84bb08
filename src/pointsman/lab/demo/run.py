"""The order of the demo: a lab, an agent, tunnels of users, calls, a burst, attempts to get out, tunnels that end."""

import secrets
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pointsman.lab import instance, life, watch, world
from pointsman.lab.demo import holders, script
from pointsman.lab.demo.callers import callers
from pointsman.lab.demo.judge import OK, Observed, differences, too_many
from pointsman.lab.demo.judging import Judging, Outcome, Row, Telling
from pointsman.lab.demo.script import Call
from pointsman.lab.exec import end_processes
from pointsman.lab.names import Lab
from pointsman.policy.diagram import compile_policy
from pointsman.policy.load import load_policy

LIMITED = 429
BEYOND = 6


def run(lab: Lab, policy: Path, tell: Telling, keep: bool = False, judged_by: Path | None = None) -> Outcome:
    """Bring a lab up, run the demo in it, and take it down again, also when interrupted; `keep` leaves it standing.

    What is expected is read from `judged_by`, where given, instead of from the policy in force.
    """
    begun = time.monotonic()
    outcome = Outcome()
    life.up(lab, policy)
    instance.write_node(lab, None, spares=0)  # the first request shall be seen to wait
    try:
        tell.stage(f"a lab of network namespaces: instance, three gateways, origin ({time.monotonic() - begun:.1f} s)")
        with watch.witness(lab) as witness:
            _in_lab(lab, witness, tell, outcome, judged_by or lab.node / "policy.yaml")
        outcome.seconds = time.monotonic() - begun
    except BaseException:
        _down(lab)
        raise
    if not keep:
        _down(lab)
    return outcome


def _in_lab(lab: Lab, witness: watch.Witness, tell: Telling, outcome: Outcome, judged_by: Path) -> None:
    outcome.open_controls = seen = witness.control()
    outcome.wrong += _wrong_control(seen, watch.CONTROL_FRAMES, "before the guard stands")
    tell.note(f"a sniffer on the wire sees {seen} of {watch.CONTROL_FRAMES} test frames before the guard stands")
    started = time.monotonic()
    instance.start_agent(lab)
    tell.stage(f"the agent: guard, Envoy and tunnels are up ({time.monotonic() - started:.1f} s)")
    text = judged_by.read_bytes()
    judged = load_policy(text, str(judged_by), lambda name: (lab.node / name).read_bytes())
    with callers(lab) as made:
        _play(Judging(lab, compile_policy(judged, {}), witness, made, tell, outcome))


def _down(lab: Lab) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # an impatient second Ctrl-C would leave half a lab
    try:
        life.down(lab)
    finally:
        signal.signal(signal.SIGINT, before)


def _play(judging: Judging) -> None:
    """Make all calls in their order."""
    _tell_profiles(judging)
    holders.appear(judging)
    judging.tell.stage("one keep-alive connection of a Python client, request by request")
    judging.calls(script.ONE_CONNECTION)
    judging.tell.stage("gRPC, and curl over IPv6 and IPv4")
    judging.calls((*script.CALLS, *script.COMMANDS))
    _burst(judging, script.BURST)
    judging.tell.stage("attempts to get out another way")
    judging.calls(script.ATTEMPTS)
    _guarded(judging)
    holders.rotate(judging)
    dead = holders.fail_over(judging)
    holders.revoke(judging, dead)
    _lose_a_gateway(judging, script.ORPHANED)
    _look_back(judging)


def _tell_profiles(judging: Judging) -> None:
    found = instance.agent_status(judging.lab)["profiles"]
    holdings = {profile.name: profile.holding for profile in judging.compiled.policy.profiles}
    judging.tell.profiles([{**one, "holding": holdings.get(one["name"])} for one in found])


def _burst(judging: Judging, call: Call) -> None:
    """More requests at once than the profile's limit lets through."""
    wanted = judging.judge(call, judging.ways())
    limit = judging.compiled.policy.profile(wanted.profile).limits.profile if wanted.profile else None
    if limit is None:
        return
    most = f"{limit.per_second} requests per second, {limit.burst} at once, earlier ones counted"
    judging.tell.stage(f"profile {wanted.profile}: {most}")
    many = limit.burst + BEYOND
    begun = time.monotonic()
    answers, sources = judging.burst(call, wanted, lambda found: len(found) == many)
    seconds = time.monotonic() - begun
    passed, limited = answers.count(OK), answers.count(LIMITED)
    odd = [answer for answer in answers if answer not in (OK, LIMITED)]
    first = differences(wanted, Observed(OK, tuple(dict.fromkeys(sources))))
    found = (*first, *too_many(passed, limited, limit.per_second, limit.burst, seconds))
    found += (f"{len(sources)} reached the origin, {passed} passed",) if len(sources) != passed else ()
    found += (f"answers {odd}",) if odd else ()
    told = f"{passed} requests passed, {limited} were limited"
    judging.show(Row(call, wanted, Observed(OK, sources[:1], seconds=seconds), f"{OK}, {LIMITED}", found, told))


def _guarded(judging: Judging) -> None:
    judging.outcome.held_controls = seen = judging.witness.control()
    judging.outcome.wrong += _wrong_control(seen, 0, "behind the guard")
    judging.tell.note(f"two datagrams and a raw frame, sent by root: the sniffer sees {seen} of {watch.CONTROL_FRAMES}")


def _lose_a_gateway(judging: Judging, call: Call) -> None:
    """End the gateway that a call goes through; others are made while that call waits for it."""
    wanted = judging.judge(call, judging.ways())
    gateway = next((each for each in world.GATEWAYS if each.tunnel == wanted.tunnel), None)
    if gateway is None:
        return
    judging.tell.stage(
        f"the gateway of {gateway.tunnel} dies: {wanted.profile} is refused, what goes elsewhere goes on"
    )
    ways = judging.ways({gateway.host})
    end_processes(judging.lab, gateway.host)
    orphan = judging.judge(call, ways)
    mark = secrets.token_hex(8)
    with ThreadPoolExecutor(1) as apart:
        waiting = apart.submit(judging.callers.wait, call, mark, judging.headers(call, orphan))
        for other in script.OTHERS:
            judging.call(other, ways)
        judging.add(mark, call, orphan, waiting.result())


def _look_back(judging: Judging) -> None:
    judging.look_back()
    outcome, witness = judging.outcome, judging.witness
    outcome.frames = witness.counts().frames["sent"]
    outcome.canaries = witness.leaked()
    if outcome.canaries:
        outcome.wrong.append(f"{outcome.canaries} frames left in the clear that must not be read")


def _wrong_control(seen: int, wanted: int, when: str) -> list[str]:
    return [] if seen == wanted else [f"the sniffer sees {seen} test frames {when}, not {wanted}"]
