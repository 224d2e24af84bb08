"""The catalogue of attacks, every case of it but lifecycle, in a lab for each section."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from pointsman.lab import names
from pointsman.lab.attacks import case, run
from pointsman.lab.attacks.bench import Bench
from pointsman.lab.attacks.case import Case, Section

CASES = [
    pytest.param(section, one, id=f"{one.id}-{number}")
    for section in case.sections()
    if section.number != "3.2"
    for number, one in enumerate(section.cases)
]


@pytest.fixture(scope="module")
def steered(worker_id: str) -> Iterator[Callable[[Section], Bench]]:
    """The bench of a section, in a lab of its own; the one before is down then."""
    name = os.environ.get("POINTSMAN_RUN") or f"r{os.getpid()}"
    standing: dict[str, Bench] = {}
    with ExitStack() as ends:

        def of(section: Section) -> Bench:
            if section.name not in standing:
                ends.pop_all().close()
                standing.clear()
                lab = names.lab(f"{name}-{worker_id}-{section.number.replace('.', '')}")
                standing[section.name] = ends.enter_context(run.steered(lab, section))
            return standing[section.name]

        yield of


@pytest.mark.parametrize(("section", "attack"), CASES)
def test_an_attack_ends_as_the_catalogue_says(
    steered: Callable[[Section], Bench], section: Section, attack: Case
) -> None:
    results = run.run(steered(section), attack)

    assert [(one.trial.label, one.observed) for one in results if not one.agrees] == []
