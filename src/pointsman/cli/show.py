"""Tables and colours for people, one JSON value for programs."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pointsman.model.problem import Problem

STATES = {"up": "green", "open": "green", "closed": "yellow", "starting": "yellow", "observe": "yellow"}


def console() -> Console:
    """Return the terminal, without colours where it is none."""
    return Console(highlight=False, soft_wrap=True)


def as_json(value: Any) -> None:
    """Print one JSON value."""
    print(json.dumps(value, indent=2, sort_keys=True, default=str))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their column names. Text of others is shown as it is, never read as markup."""
    shown = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        shown.add_column(column)
    for row in rows:
        shown.add_row(*(_cell(cell) for cell in row))
    Console(highlight=False).print(shown)


def problems(found: Iterable[Problem]) -> None:
    """Print problems to standard error, one a line, place first."""
    terminal = Console(stderr=True, highlight=False, soft_wrap=True)
    for problem in found:
        line = Text(f"{problem.place}: ", style="bold")
        line.append(problem.what, style="red")
        if problem.hint:
            line.append(f"\n    {problem.hint}", style="dim")
        terminal.print(line)


def problem_json(problem: Problem) -> dict[str, object]:
    """Return a problem as programs see it."""
    return {
        "file": problem.place.file,
        "line": problem.place.line,
        "column": problem.place.column,
        "label": problem.label,
        "what": problem.what,
        "hint": problem.hint,
    }


def error(message: str, details: Iterable[str] = ()) -> None:
    """Print what went wrong to standard error."""
    terminal = Console(stderr=True, highlight=False, soft_wrap=True)
    terminal.print(Text("error: ", style="bold red").append(plain(message), style="default"))
    for detail in details:
        terminal.print(Text(f"  {plain(detail)}"))


def plain(text: str) -> str:
    """Return the text with control characters made visible, so that it cannot steer the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)


def _cell(cell: object) -> Text:
    text = plain("" if cell is None else str(cell))
    return Text(text, style=STATES.get(text, "red" if text in {"failed", "down", "DIFFERS"} else ""))
