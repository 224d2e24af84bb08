"""What holds for every command that there is: help with an example, and an answer for programs."""

import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from pointsman.cli import main, register

# What these print is a log, or what another program prints
NO_VALUE = {("gateway", "up"), ("lab", "exec")}


@functools.cache
def tree() -> Any:
    register.commands(main.app)
    return typer.main.get_command(main.app)


def leaves(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command that does something, with the words that lead to it."""
    for name, child in getattr(command, "commands", {}).items():
        yield from leaves(child, *path, name)
    if path and (not hasattr(command, "commands") or command.invoke_without_command):
        yield path, command


def test_every_command_has_help_with_an_example_of_its_own() -> None:
    without = [path for path, command in leaves(tree()) if f"Example: pointsman {' '.join(path)}" not in command.help]

    assert without == []
    assert len(list(leaves(tree()))) > 25


def test_every_command_gives_programs_one_value_but_those_that_print_a_log() -> None:
    lacking = {
        path
        for path, command in leaves(tree())
        if not hasattr(command, "commands") and not any("--json" in one.opts for one in command.params)
    }

    assert lacking == NO_VALUE


@pytest.mark.parametrize(("words", "known"), [("pointsman lea", "leases"), ("pointsman leases re", "revoke")])
def test_a_shell_is_told_how_to_complete_commands(words: str, known: str) -> None:
    told = program(_POINTSMAN_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(words.count(" ")))

    assert known in told.split()


def test_a_shell_is_told_how_to_complete_options() -> None:
    words = "pointsman status --j"

    assert "--json" in program(_POINTSMAN_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD="2").split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_a_shell_has_to_load_is_printed(shell: str) -> None:
    script = program(_POINTSMAN_COMPLETE=f"source_{shell}")

    assert f"_POINTSMAN_COMPLETE=complete_{shell}" in script


def program(**environment: str) -> str:
    """Run the program under the name by which shells know it; return what it prints."""
    code = "import sys; sys.argv = ['pointsman']; from pointsman.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert "Traceback" not in done.stderr
    return done.stdout
