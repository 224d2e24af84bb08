"""The command that shows everything: real requests from real clients, each with its decided and its observed path."""

import json as json_module
import os
import signal
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from pointsman.cli import show
from pointsman.cli.node import AsJson

if TYPE_CHECKING:
    from pointsman.lab.demo.run import Outcome, Row
    from pointsman.lab.names import Lab

_COLUMNS = (
    ("by", 6),
    ("request", 34),
    ("user", 9),
    ("data", 12),
    ("operation", 9),
    ("→ rule", 20),
    ("→ profile", 10),
    ("→ tunnel", 8),
    ("origin saw", 14),
    ("answer", 16),
    ("path", 10),
)
_SPLIT = 5
_COMMANDS = """
look around (the lab stands until `{program} lab down --name {lab}`):
  {program} lab exec --name {lab} instance -- pointsman status
  {program} lab exec --name {lab} instance -- pointsman tunnels
  {program} lab exec --name {lab} instance -- pointsman decisions tail
  {program} lab exec --name {lab} instance -- pointsman explain http://pay.example/charge -X POST --claim role=clerk
  {program} lab exec --name {lab} --uid 1000 instance -- curl -s http://public.example/news
  token=$({program} lab token --name {lab} sub=bob role=clerk)
  {program} lab exec --name {lab} --uid 1000 instance -- curl -s -H "x-identity-token: $token" http://pay.example/charge
"""
_AGAIN = """look around: `{program} demo --keep` leaves the lab standing; then, for example,
  {program} lab exec --name demo instance -- pointsman status"""


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the lab standing, to look around.")] = False,
    name: Annotated[str | None, typer.Option("--name", help="Name of the lab; `demo` for one that is kept.")] = None,
    json: AsJson = False,
) -> None:
    """Watch requests take different tunnels in a lab (root); exit 1 if any takes another path than was decided.

    Example: pointsman demo --keep
    """
    from pointsman.lab import names
    from pointsman.lab.demo.run import run

    # `./dev` sweeps the labs of its own run away; one that is kept has a name of its own
    lab = names.lab(name or ("demo" if keep else names.default_name()))
    signal.signal(signal.SIGTERM, _end)
    try:
        outcome = run(lab, example(), _Silent() if json else _Table(), keep)
    except KeyboardInterrupt:
        show.error("interrupted; the lab is gone")
        raise typer.Exit(130) from None
    if json:
        show.as_json(_as_json(outcome, lab, keep))
    else:
        _sum_up(outcome, lab, keep)
    if outcome.wrong:
        raise typer.Exit(1)


def example() -> Path:
    """Return the policy of the examples, from the checkout or as it was installed."""
    package = Path(__file__).parents[1]
    return next(
        p for p in (package / "examples/policy.yaml", package.parents[1] / "examples/policy.yaml") if p.exists()
    )


class _Silent:
    """Tells nothing: the outcome says it all at the end."""

    def stage(self, title: str) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""

    def profiles(self, found: list[dict[str, Any]]) -> None:
        """Ignore it."""

    def row(self, row: "Row") -> None:
        """Ignore it."""


class _Table:
    """Prints each row when it happens: on one line, or on two where the terminal is narrow."""

    def __init__(self) -> None:
        self._terminal = show.console()
        width = sum(width + 2 for _, width in _COLUMNS)
        self._narrow = self._terminal.is_terminal and self._terminal.width < width
        self._headed = False

    def stage(self, title: str) -> None:
        """Print a heading."""
        self._terminal.print(Text(f"\n{title}", style="bold"))

    def note(self, text: str) -> None:
        """Print a line."""
        self._terminal.print(Text(f"  {text}", style="dim"))

    def profiles(self, found: list[dict[str, Any]]) -> None:
        """Print which tunnel each profile has, and how the origin can tell."""
        from pointsman.lab.world import seen_as

        for profile in found:
            tunnel = profile["tunnel"]
            seen = " or ".join(seen_as(tunnel)) if tunnel else "nothing"
            self.note(
                f"{profile['name']:<9} {profile['encryption']:<10} → {tunnel or 'no tunnel':<7} the origin sees {seen}"
            )

    def row(self, row: "Row") -> None:
        """Print one call."""
        if not self._headed:
            self._headed = True
            self._line([Text(title, style="dim") for title, _ in _COLUMNS])
        wanted = row.decided
        passed = bool(wanted.sources)
        saw = ", ".join(dict.fromkeys(row.observed.sources)) or "nothing"
        self._line(
            [
                Text(row.call.by),
                Text(str(row.call)),
                Text(wanted.user),
                Text(wanted.data or "-"),
                Text(wanted.operation or "-"),
                Text(f"→ {wanted.rule or '-'}"),
                Text(f"→ {wanted.profile or '-'}", style="cyan" if wanted.profile else ""),
                Text(f"→ {wanted.tunnel or '-'}", style="cyan" if wanted.tunnel else ""),
                Text(saw),
                Text(row.answer, style="green" if passed else "yellow"),
                Text("DIFFERS", style="bold red") if row.differs else Text("as decided", style="green"),
            ]
        )
        for found in (row.call.note, *row.differs):
            if found:
                self._terminal.print(
                    Text(f"        {show.plain(found)}", style="red" if found in row.differs else "dim")
                )

    def _line(self, cells: list[Text]) -> None:
        for cell, (_, width) in zip(cells, _COLUMNS, strict=True):
            cell.pad_right(max(0, width - cell.cell_len))
        lines = (cells[:_SPLIT], [Text("      "), *cells[_SPLIT:]]) if self._narrow else (cells,)
        for line in lines:
            joined = Text("  ").join(line)
            joined.rstrip()
            self._terminal.print(joined)


def _sum_up(outcome: "Outcome", lab: "Lab", kept: bool) -> None:
    terminal = show.console()
    program = "./dev" if "POINTSMAN_RUN" in os.environ else "pointsman"
    agreed = sum(not row.differs for row in outcome.rows)
    terminal.print(Text("\nresult", style="bold"))
    terminal.print(f"  {agreed} of {len(outcome.rows)} rows went as decided, in {outcome.seconds:.1f} s")
    terminal.print(
        f"  the sniffer saw {outcome.frames} frames leave, {outcome.canaries} of them with what must not be read"
    )
    for found in outcome.wrong:
        terminal.print(Text(f"  WRONG: {show.plain(found)}", style="bold red"))
    terminal.print(_COMMANDS.format(lab=lab.name, program=program) if kept else "\n" + _AGAIN.format(program=program))


def _as_json(outcome: "Outcome", lab: "Lab", kept: bool) -> dict[str, Any]:
    rows = [{**asdict(row), "request": str(row.call)} for row in outcome.rows]
    return {
        "agreed": not outcome.wrong,
        "wrong": outcome.wrong,
        "rows": json_module.loads(json_module.dumps(rows)),
        "controls": {"before the guard": outcome.open_controls, "behind the guard": outcome.held_controls},
        "frames": outcome.frames,
        "canaries": outcome.canaries,
        "seconds": round(outcome.seconds, 1),
        "lab": lab.name if kept else None,
    }


def _end(number: int, frame: object) -> None:
    raise SystemExit(128 + number)
