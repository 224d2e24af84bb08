"""`./dev attacks`: run the catalogue in a lab and print case, input, what was expected, what was observed."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pointsman.lab import names
from pointsman.lab.attacks import case, run
from pointsman.lab.attacks.bench import bench
from pointsman.lab.attacks.case import Case, Section


def main() -> int:
    """Run what was asked for; return 1 if anything was not as expected."""
    asked = _arguments()
    chosen = [(section, _chosen(section, asked.only)) for section in case.sections()]
    chosen = [(section, cases) for section, cases in chosen if cases]
    if not chosen:
        sys.stderr.write(f"no case is named `{' '.join(asked.only)}`; try: --list\n")
        return 2
    if asked.list:
        for section, cases in chosen:
            for one in cases:
                sys.stdout.write(f"{section.number}  {one.id}  {one.what} ({len(one.trials)})\n")
        return 0
    results = [result for section, cases in chosen for result in _run(section, cases, asked)]
    wrong = [result for result in results if not result.agrees]
    if asked.json:
        sys.stdout.write(json.dumps([_facts(result) for result in results], indent=1) + "\n")
    else:
        sys.stdout.write(f"{len(results)} trials, {len(results) - len(wrong)} as expected, {len(wrong)} not\n")
    return 1 if wrong else 0


def _arguments() -> Any:
    parser = argparse.ArgumentParser(prog="./dev attacks", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="ID", help="a case, or a section such as 3.4")
    parser.add_argument("--json", action="store_true", help="print one JSON list for programs")
    parser.add_argument("--list", action="store_true", help="print the cases and end")
    parser.add_argument("--name", default=f"{names.default_name()}-a", help="how the names of the labs begin")
    asked = parser.parse_args()
    if not asked.list and os.geteuid() != 0:
        parser.error("labs are made of network namespaces and need root")
    return asked


def _chosen(section: Section, only: Sequence[str]) -> tuple[Case, ...]:
    return tuple(one for one in section.cases if not only or one.id in only or section.number in only)


def _run(section: Section, cases: Sequence[Case], asked: Any) -> list[run.Result]:
    """Run the cases of one section in a lab of their own and show them as they come."""
    console = Console(width=None if sys.stdout.isatty() else 200, quiet=asked.json)
    console.print(f"\n[bold]{section.number} {section.title}[/bold]")
    with bench(names.lab(f"{asked.name}{section.number.replace('.', '')}"), section) as stand:
        found = list(run.prepare(stand, cases))
        for one in cases:
            found += run.run(stand, one)
    table = Table(box=None, pad_edge=False)
    for name in ("case", "input", "expected", "observed", ""):
        table.add_column(name, overflow="fold")
    for result in found:
        table.add_row(*(Text(words) for words in _row(result)))
    console.print(table)
    return found


def _row(result: run.Result) -> tuple[str, ...]:
    trial = result.trial
    label = f"control {trial.label}" if trial.control and trial.label != "control" else trial.label
    return trial.id, label[:60], " or ".join(trial.expect), result.observed, "ok" if result.agrees else "DIFFERS"


def _facts(result: run.Result) -> dict[str, object]:
    trial = result.trial
    return {
        "case": trial.id,
        "what": trial.what,
        "input": trial.label,
        "control": trial.control,
        "expected": list(trial.expect),
        "observed": result.observed,
        "agrees": result.agrees,
        "note": trial.note,
        "seconds": round(result.seconds, 3),
    }


if __name__ == "__main__":
    sys.exit(main())
