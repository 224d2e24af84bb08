"""The command `pointsman`, and what its exit codes mean."""

import gc
import os
import sys

import typer

from pointsman import __version__
from pointsman.cli import show
from pointsman.cli.client import NoAgent, Refused
from pointsman.model.fault import Fault
from pointsman.model.problem import Invalid

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


@app.command()
def version() -> None:
    """Print the version.

    Example: pointsman version
    """
    print(__version__)


def main() -> None:
    """Run one command; every expected failure is one clear message and its exit code."""
    from pointsman.cli import register

    calm()
    register.commands(app)
    try:
        app()
    except Invalid as invalid:
        show.problems(invalid.problems)
        sys.exit(1)
    except Refused as refused:
        show.error(str(refused), refused.problems)
        sys.exit(1)
    except NoAgent as nobody:
        show.error(str(nobody))
        sys.exit(3)
    except Fault as fault:
        show.error(str(fault))
        sys.exit(4)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def calm() -> None:
    """Look for cycles of garbage rarely: a policy is very many small values that live long and hold none."""
    gc.set_threshold(200_000, 20, 100)
