"""Run cases on a bench: the controls that need an open host first, then the agent, then every trial."""

import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pointsman.lab.attacks import dumps, outcome
from pointsman.lab.attacks.bench import Bench, bench
from pointsman.lab.attacks.case import Case, Section, Trial
from pointsman.lab.attacks.probes import attempt
from pointsman.lab.names import Lab
from pointsman.model.fault import Fault


@dataclass(frozen=True, slots=True)
class Result:
    """One trial and what came of it."""

    trial: Trial
    observed: str
    agrees: bool
    seconds: float


def prepare(stand: Bench, cases: Iterable[Case]) -> tuple[Result, ...]:
    """See every canary of the senders on the open wire, then start the agent. What is not seen there proves nothing."""
    stand.on("sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647")
    senders = {
        (str(one.input), int(one.options["uid"])): one for case in cases for one in case.trials if one.probe == "sender"
    }
    found = []
    for (name, uid), trial in senders.items():
        begun = time.monotonic()
        before = stand.witness.leaked()
        said = stand.send(name, uid)
        stand.settle()
        seen = stand.witness.leaked() - before
        words = "seen without a guard" if seen else f"not seen without a guard ({said})"
        found.append(Result(_control(trial, name), words, seen > 0, time.monotonic() - begun))
    stand.untouched = dumps.kernel(stand.lab)
    stand.start_agent()
    stand.until_routed()
    return tuple(found)


@contextmanager
def steered(lab: Lab, section: Section) -> Iterator[Bench]:
    """Have a bench for a section while the block runs; a sender that was not seen before is a `Fault`."""
    with bench(lab, section) as stand:
        unseen = [result.trial.label for result in prepare(stand, section.cases) if not result.agrees]
        if unseen:
            raise Fault("lab-witness", "see every sender on the open wire", f"not seen: {', '.join(unseen)}")
        yield stand


def run(stand: Bench, case: Case) -> Iterator[Result]:
    """Try all inputs of a case, its control first. A bench that fails is a result too."""
    for trial in case.trials:
        begun = time.monotonic()
        try:
            said = attempt(stand, trial)
        except (Fault, subprocess.SubprocessError) as fault:
            said = f"bench failed: {fault}"
        yield Result(trial, said, outcome.agrees(trial.expect, said), time.monotonic() - begun)


def _control(trial: Trial, name: str) -> Trial:
    return Trial(
        trial.id, trial.what, trial.probe, name, trial.input, ("seen without a guard",), trial.options, control=True
    )
