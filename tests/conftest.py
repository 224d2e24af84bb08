"""Fixtures that build real things, and the rule that a skipped lab or contract test is a failure."""

import os
from collections.abc import Callable, Generator, Iterator
from itertools import count
from pathlib import Path
from typing import TypeVar

import pytest

from pointsman.lab import life, names, watch
from pointsman.lab.names import Lab

_REAL = tuple(Path(__file__).parent / folder for folder in ("lab", "contract"))
_numbers = count()
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def _is_real(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in _REAL)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    return _no_skip(report, item.path)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    return _no_skip(report, collector.path)


def _no_skip(report: Report, path: Path) -> Report:
    if report.skipped and _is_real(path):
        report.outcome = "failed"
        vars(report).pop("wasxfail", None)  # with it, pytest would not count the failure
        report.longrepr = f"a skipped lab or contract test is a failure: {report.longrepr}"
    return report


@pytest.fixture(scope="module")
def new_lab(worker_id: str) -> Iterator[Callable[[], Lab]]:
    """Bring up labs of one's own; they are down again after the last test of the file."""
    if os.geteuid() != 0:
        pytest.fail("labs are made of network namespaces and need root")
    made: list[Lab] = []

    def new() -> Lab:
        lab = names.lab(f"{names.run_name()}-{worker_id}-{next(_numbers)}")
        made.append(lab)
        life.up(lab)
        return lab

    yield new
    for lab in made:
        life.down(lab)


@pytest.fixture(scope="module")
def lab(new_lab: Callable[[], Lab]) -> Lab:
    """A lab that all tests of one file share, without an agent."""
    return new_lab()


@pytest.fixture(scope="module")
def witness(lab: Lab) -> Iterator[watch.Witness]:
    """A witness on the wire of `lab`, after its positive control. Ask for it before anything holds packets back."""
    with watch.witness(lab) as found:
        assert found.control() == watch.CONTROL_FRAMES
        yield found
        assert found.leaked() == 0  # nor while that was taken down which the tests of the file shared


@pytest.fixture(autouse=True)
def _nothing_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test that has the witness may put its canary on the wire in the clear."""
    yield
    if "witness" in request.fixturenames:
        assert request.getfixturevalue("witness").leaked() == 0
