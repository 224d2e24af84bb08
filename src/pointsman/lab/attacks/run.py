"""Run cases on a bench: the controls that need an open host first, then the agent, then every trial."""

import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pointsman.lab.attacks import dumps, outcome
from pointsman.lab.attacks.bench import Bench
from pointsman.lab.attacks.case import Case, Trial
from pointsman.lab.attacks.probes import attempt
from pointsman.model.fault import Fault


@dataclass(frozen=True, slots=True)
class Result:
    """One trial and what came of it."""

    trial: Trial
    observed: str
    agrees: bool
    seconds: float


def prepare(bench: Bench, cases: Iterable[Case]) -> tuple[Result, ...]:
    """See every canary of the senders on the open wire, then start the agent. What is not seen there proves nothing."""
    bench.on("sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647")
    senders = {
        (str(one.input), int(one.options["uid"])): one for case in cases for one in case.trials if one.probe == "sender"
    }
    found = []
    for (name, uid), trial in senders.items():
        begun = time.monotonic()
        before = bench.witness.leaked()
        said = bench.send(name, uid)
        bench.settle()
        seen = bench.witness.leaked() - before
        words = "seen without a guard" if seen else f"not seen without a guard ({said})"
        found.append(Result(_control(trial, name), words, seen > 0, time.monotonic() - begun))
    bench.untouched = dumps.kernel(bench.lab)
    bench.start_agent()
    bench.until_routed()
    return tuple(found)


def run(bench: Bench, case: Case) -> Iterator[Result]:
    """Try all inputs of a case, its control first. A bench that fails is a result too."""
    for trial in case.trials:
        begun = time.monotonic()
        try:
            said = attempt(bench, trial)
        except (Fault, subprocess.SubprocessError) as fault:
            said = f"bench failed: {fault}"
        yield Result(trial, said, outcome.agrees(trial.expect, said), time.monotonic() - begun)


def _control(trial: Trial, name: str) -> Trial:
    return Trial(
        trial.id, trial.what, trial.probe, name, trial.input, ("seen without a guard",), trial.options, control=True
    )
