"""The catalogue of attacks on what gives tunnels, on tunnels and gateways, and by load."""

from collections.abc import Callable

import pytest

from pointsman.lab.attacks import case, run
from pointsman.lab.attacks.bench import Bench
from pointsman.lab.attacks.case import Case, Section

BY_HAND = {"LC-21"}  # waits for a minute: `./dev attacks --only LC-21`
CASES = [
    pytest.param(section, one, id=f"{one.id}-{number}")
    for section in case.sections()
    if section.number in {"3.13", "3.16", "3.17"}
    for number, one in enumerate(section.cases)
    if one.id not in BY_HAND
]


@pytest.mark.parametrize(("section", "attack"), CASES)
def test_a_fault_ends_as_the_catalogue_says(
    steered: Callable[[Section], Bench], section: Section, attack: Case
) -> None:
    results = run.run(steered(section), attack)

    assert [(one.trial.label, one.observed) for one in results if not one.agrees] == []
