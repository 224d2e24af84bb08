"""The lifecycle section of the catalogue of attacks: what kill -9 and broken files do."""

from collections.abc import Callable

import pytest

from pointsman.lab.attacks import case, run
from pointsman.lab.attacks.bench import Bench
from pointsman.lab.attacks.case import Case, Section

CASES = [
    pytest.param(section, one, id=f"{one.id}-{number}")
    for section in case.sections()
    if section.number == "3.2"
    for number, one in enumerate(section.cases)
]


@pytest.mark.parametrize(("section", "attack"), CASES)
def test_a_fault_ends_as_the_catalogue_says(
    steered: Callable[[Section], Bench], section: Section, attack: Case
) -> None:
    results = run.run(steered(section), attack)

    assert [(one.trial.label, one.observed) for one in results if not one.agrees] == []
