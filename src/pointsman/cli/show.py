"""Tables and colours for people, one JSON value for programs."""

import os
from collections.abc import Iterable, Sequence
from json import dumps
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pointsman.model.problem import Problem

STATES = dict.fromkeys(("up", "open"), "green") | dict.fromkeys(
    ("closed", "observe", "planned", "provisioning", "degraded", "draining"), "yellow"
)


def console() -> Console:
    """Return the terminal, without colours where it is none."""
    return Console(highlight=False, soft_wrap=True)


def as_json(value: Any) -> None:
    """Print one JSON value."""
    print(dumps(value, indent=2, sort_keys=True, default=str))


def done(json: bool, value: Any, said: str) -> None:
    """Print what was done: for programs a value, for people a sentence."""
    as_json(value) if json else print(said)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their column names; where the terminal is too narrow for them, each row as a list.

    Text of others is shown as it is, never read as markup.
    """
    listed = [[_cell(cell) for cell in row] for row in rows]
    widths = [max(cell.cell_len for cell in column) for column in zip(map(Text, columns), *listed, strict=True)]
    wide, terminal = sum(widths) + 2 * len(widths), Console(highlight=False)
    if not terminal.is_terminal and "COLUMNS" not in os.environ:
        terminal = Console(highlight=False, width=max(wide, len(title), 80))
    if wide > terminal.width and len(columns) > 4:
        _stacked(terminal, title, columns, listed)
        return
    shown = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in listed:
        shown.add_row(*row)
    terminal.print(shown)


def _stacked(terminal: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[Text]]) -> None:
    """Print each row as its first cell, and below it the others that say something, each after its name."""
    terminal.print(Text(title, style="italic"))
    for first, *others in rows:
        terminal.print(Text.assemble(first, style="bold"))
        lines: list[Text] = []
        for name, cell in zip(columns[1:], others, strict=True):
            told = Text.assemble((f"{name}: ", "dim"), cell)
            if cell and lines and lines[-1].cell_len + 3 + told.cell_len <= terminal.width - 4:
                lines[-1].append(" · ").append_text(told)
            elif cell:
                lines.append(told)
        for line in lines:
            terminal.print(Padding(line, (0, 0, 0, 4), expand=False))


def problems(found: Iterable[Problem], colour: str = "red") -> None:
    """Print problems, or in yellow warnings, to standard error, one a line, place first where they have one."""
    _listed(Console(stderr=True, highlight=False, soft_wrap=True), found, "", colour)


def notes(found: Iterable[Problem]) -> None:
    """Print what is no problem, but worth knowing, the same way to standard output."""
    _listed(console(), found, "note: ", "yellow")


def _listed(terminal: Console, found: Iterable[Problem], word: str, style: str) -> None:
    for problem in found:
        line = Text(f"{problem.place}: " if problem.place.file else "", style="bold")
        line.append(word + plain(problem.what), style=style)
        if problem.hint:
            line.append(f"\n    {plain(problem.hint)}", style="dim")
        terminal.print(line)


def problems_as_json(found: Iterable[Problem]) -> None:
    """Print problems as every command with `--json` does."""
    listed = [problem.fields for problem in found]
    count = len(listed)
    error = f"{count} problem{'' if count == 1 else 's'}"
    as_json({"valid": False, "error": error, "problems": listed})


def wants_json(words: Sequence[str]) -> bool:
    """Return whether a command line asks for JSON; what `lab exec` runs is asked on its own."""
    ours = words[: words.index("--")] if "--" in words else words
    return "--json" in ours and list(ours[:2]) != ["lab", "exec"]


def error(message: str) -> None:
    """Print what went wrong to standard error."""
    terminal = Console(stderr=True, highlight=False, soft_wrap=True)
    terminal.print(Text("error: ", style="bold red").append(plain(message), style="default"))


def plain(text: str) -> str:
    """Return the text with control characters made visible, so that it cannot steer the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)


def _cell(cell: object) -> Text:
    text = plain("" if cell is None else str(cell))
    return Text(text, style=STATES.get(text, "red" if text in {"failed", "gone", "stuck", "DIFFERS"} else ""))
