"""The catalogue of attacks, every case of it, in a lab for each section."""

import os
from collections.abc import Iterator

import pytest

from pointsman.lab import names
from pointsman.lab.attacks import case, run
from pointsman.lab.attacks.bench import Bench, bench
from pointsman.lab.attacks.case import Case, Section

SECTIONS = {section.name: section for section in case.sections()}
CASES = [
    pytest.param(section.name, one, id=f"{one.id}-{number}")
    for section in SECTIONS.values()
    for number, one in enumerate(section.cases)
]


@pytest.fixture(scope="module")
def section(request: pytest.FixtureRequest) -> Section:
    return SECTIONS[request.param]


@pytest.fixture(scope="module")
def stand(section: Section, worker_id: str) -> Iterator[Bench]:
    """The bench of one section, its senders seen on the open wire and its agent started."""
    run_name = os.environ.get("POINTSMAN_RUN") or f"r{os.getpid()}"
    with bench(names.lab(f"{run_name}-{worker_id}-{section.number.replace('.', '')}")) as found:
        assert [(one.trial.label, one.observed) for one in run.prepare(found, section.cases) if not one.agrees] == []
        yield found


@pytest.mark.parametrize(("section", "attack"), CASES, indirect=["section"])
def test_an_attack_ends_as_the_catalogue_says(stand: Bench, attack: Case) -> None:
    results = run.run(stand, attack)

    assert [(one.trial.label, one.observed) for one in results if not one.agrees] == []
