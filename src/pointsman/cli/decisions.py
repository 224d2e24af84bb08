"""Commands that show the decision records."""

import json as json_module
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from pointsman.cli import show
from pointsman.cli.client import Client, NoAgent
from pointsman.cli.node import DEFAULT_RUNTIME, AsJson, Runtime

app = typer.Typer(no_args_is_help=True, help="What was decided, request by request.")


@app.callback()
def _group() -> None:
    """What was decided, request by request."""


@app.command()
def tail(
    runtime: Runtime = DEFAULT_RUNTIME,
    json: AsJson = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the past to show first.")] = 20,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", "-f", help="Go on with what comes.")] = True,
) -> None:
    """Show decisions as they are made.

    Example: pointsman decisions tail -n 100 --no-follow --json
    """
    terminal = Console(highlight=False, soft_wrap=True)
    for line in _lines(runtime, lines, follow):
        if json:
            print(line.decode(errors="replace"), flush=True)
            continue
        terminal.print(_told(json_module.loads(line)))


def _told(record: Mapping[str, Any]) -> Text:
    code = record.get("code") or 0
    colour = "green" if 0 < code < 400 else "red" if code in (400, 403, 421, 429, 503) else "yellow"
    what = record.get("method") or "TCP"
    where = f"{record.get('authority') or record.get('destination') or ''}{record.get('path') or ''}"
    text = Text(f"{record.get('time', '')}  ", style="dim")
    text.append(f"{code or '':>3} ", style=colour)
    text.append(show.plain(f"{what} {where}"))
    text.append(show.plain(f"  {record.get('rule') or '-'} → {record.get('lane') or 'refused'}"), style="bold")
    text.append(show.plain(f"  {record.get('user') or ''} {record.get('source') or ''}"), style="dim")
    return text


def _lines(runtime: Path, past: int, follow: bool) -> Iterator[bytes]:
    from pointsman.node.records import Follower, parse

    path = runtime / "proxy" / "decisions.log"
    try:
        Client(runtime, timeout=5).get("/v1/status")
    except NoAgent as nobody:
        if not path.exists():
            raise
        show.error(f"warning: {nobody}; these are the records that the proxy leaves")
    follower = Follower(path)
    seen = [line for line in follower.lines() if parse(line)]
    yield from seen[-past:] if past else ()
    while follow:
        fresh = [line for line in follower.lines() if parse(line)]
        yield from fresh
        if not fresh:
            time.sleep(0.2)
