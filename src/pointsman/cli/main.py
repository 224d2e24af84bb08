"""The command `pointsman`, and what its exit codes mean."""

import gc
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from pointsman import __version__
from pointsman.cli import show
from pointsman.cli.client import NoAgent, Refused
from pointsman.cli.node import AsJson
from pointsman.model.fault import Fault
from pointsman.model.problem import Invalid, Problem

EXIT_CODES = """
Exit codes: 0 done, 1 refused or a check failed, 2 wrong usage, 3 no agent answers, 4 the host failed us.
"""

app = typer.Typer(
    name="pointsman",
    help="What a request is decides how it travels.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """What a request is decides how it travels."""


@app.command()
def version(json: AsJson = False) -> None:
    """Print the version.

    Example: pointsman version
    """
    show.done(json, {"version": __version__}, __version__)


def main() -> None:
    """Run one command; every expected failure is one clear message and its exit code."""
    from pointsman.cli import register

    calm()
    register.commands(app)
    try:
        sys.exit(_run(show.wants_json(sys.argv[1:])))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _run(json: bool) -> int:
    try:
        if json:
            return _told_as_json()
        app()
    except Invalid as invalid:
        show.problems_as_json(invalid.problems) if json else show.problems(invalid.problems)
        return 1
    except Refused as refused:
        _tell(str(refused), refused.label, refused.problems, json)
        return 1
    except NoAgent as nobody:
        _tell(str(nobody), "no-agent", (), json)
        return 3
    except Fault as fault:
        _tell(str(fault), fault.label, (), json)
        return 4
    return 0


def _told_as_json() -> int:
    """Run one command whose wrong usage is told to programs, too."""
    try:
        return app(standalone_mode=False) or 0
    except typer.TyperException as wrong:
        _tell(wrong.format_message(), "usage", (), json=True)
        return wrong.exit_code


def _tell(message: str, label: str, problems: Sequence[Problem], json: bool) -> None:
    if json:
        show.as_json({"error": message, "label": label, "problems": [problem.fields for problem in problems]})
    else:
        show.error(message)
        show.problems(problems)


def calm() -> None:
    """Look for cycles of garbage rarely: a policy is very many small values that live long and hold none."""
    gc.set_threshold(200_000, 20, 100)
