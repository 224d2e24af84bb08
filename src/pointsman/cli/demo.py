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
    from pointsman.lab.demo.judging import Outcome, Row
    from pointsman.lab.names import Lab

# Two lines a row, so that it can be read in 80 columns: what was asked, and the path of it
_ASKED = (("by", 6), ("request", 34), ("user", 9), ("data", 12), ("operation", 9))
_PATH = (("", 6), ("→ rule", 20), ("→ profile", 10), ("→ tunnel", 15), ("origin saw", 14), ("answer", 6))
_COMMANDS = """
look around (the lab stands until `{program} lab down --name {lab}`):
  {program} lab exec --name {lab} instance -- pointsman status
  {program} lab exec --name {lab} instance -- pointsman tunnels
  {program} lab exec --name {lab} instance -- pointsman leases list
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
    """Prints each row when it happens."""

    def __init__(self) -> None:
        self._terminal = show.console()
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
            tunnel, holding = profile["tunnel"], profile["holding"]
            seen = " or ".join(seen_as(tunnel)) if tunnel else "nothing"
            way = f"{tunnel or 'no tunnel':<7} the origin sees {seen}"
            own = f"a tunnel {holding.who}, made when it is needed" if holding else way
            self.note(f"{profile['name']:<9} {profile['encryption']:<10} → {own}")

    def row(self, row: "Row") -> None:
        """Print one call."""
        if not self._headed:
            self._headed = True
            for columns in (_ASKED, _PATH):
                self._line(columns, [Text(title, style="dim") for title, _ in columns])
        wanted = row.decided
        saw = ", ".join(dict.fromkeys(row.observed.sources)) or "nothing"
        self._line(
            _ASKED,
            [
                Text(row.call.by),
                Text(str(row.call)),
                Text(wanted.user),
                Text(wanted.data or "-"),
                Text(wanted.operation or "-"),
            ],
        )
        self._line(
            _PATH,
            [
                Text("WRONG", style="bold red") if row.differs else Text("ok", style="green"),
                Text(f"→ {wanted.rule or '-'}"),
                Text(f"→ {wanted.profile or '-'}", style="cyan" if wanted.profile else ""),
                Text(f"→ {wanted.tunnel or '-'}", style="cyan" if wanted.tunnel else ""),
                Text(saw),
                Text(row.answer, style="green" if wanted.sources else "yellow"),
            ],
        )
        for found in (row.call.note, row.told, *row.differs):
            if found:
                style = "red" if found in row.differs else "dim"
                self._terminal.print(Text(f"       {show.plain(found)}", style=style))

    def _line(self, columns: tuple[tuple[str, int], ...], cells: list[Text]) -> None:
        for cell, (_, width) in zip(cells, columns, strict=True):
            cell.pad_right(max(0, width - cell.cell_len))
        joined = Text(" ").join(cells)
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
