"""What the program prints and how it ends where there is no agent, no network and no right to anything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from pointsman.cli import show
from pointsman.cli.node import duration

EXAMPLES = Path(__file__).parents[3] / "examples"


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pointsman", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "POINTSMAN_RUNTIME": "/nonexistent", **environment},
    )


@pytest.mark.parametrize(("text", "seconds"), [("1s", 1), ("90s", 90), ("10m", 600), ("24h", 86400)])
def test_times_are_written_with_their_unit(text: str, seconds: int) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "10", "0s", "-1s", "1d", "25h", "1.5h", "٣s", "9" * 5000 + "s"])
def test_other_times_are_wrong_usage(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        duration(text)


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert show.plain("a\x1b[2Jb\x07\u202ec\nd") == "a\\x1b[2Jb\\x07\\x202ec\nd"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["version"], 0),
        (["policy", "check", str(EXAMPLES / "policy.yaml")], 0),
        (["policy", "test", str(EXAMPLES / "policy.yaml"), str(EXAMPLES / "policy.test.yaml")], 0),
        (["policy", "check", str(EXAMPLES / "policy.test.yaml")], 1),
        (["policy", "check", "/nonexistent"], 1),
        (["explain", "http://public.example/", "--policy", str(EXAMPLES / "policy.yaml")], 0),
        (["explain", "http://public.example/"], 3),
        (["explain", "http://a:b/", "--policy", str(EXAMPLES / "policy.yaml")], 1),
        (["status"], 3),
        (["tunnels"], 3),
        (["confirm"], 3),
        (["doctor"], 3),
        (["frobnicate"], 2),
        (["status", "--frobnicate"], 2),
        (["break-glass", "--reason", "x", "--for", "1y"], 2),
    ],
)
def test_every_command_ends_with_its_exit_code(words: list[str], code: int) -> None:
    done = run(*words)

    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert bool(done.stderr.strip()) == (code != 0)


def test_problems_are_json_for_programs(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("apiVersion: pointsman/v1\nkind: Policy\nmetadata: {nam: x}\n")

    done = run("policy", "check", "--json", str(tmp_path / "p.yaml"))

    answer = json.loads(done.stdout)
    assert (done.returncode, answer["valid"]) == (1, False)
    assert {"file", "line", "column", "label", "what", "hint"} == set(answer["problems"][0])
    assert any("did you mean `name`?" in problem["hint"] for problem in answer["problems"])


def test_a_test_of_a_policy_that_fails_ends_with_1(tmp_path: Path) -> None:
    cases = (EXAMPLES / "policy.test.yaml").read_text().replace("profile: vault", "profile: plain")
    (tmp_path / "cases.yaml").write_text(cases)

    done = run("policy", "test", "--json", str(EXAMPLES / "policy.yaml"), str(tmp_path / "cases.yaml"))

    outcomes = json.loads(done.stdout)
    assert (done.returncode, [o["passed"] for o in outcomes].count(False)) == (1, 1)


def test_every_command_has_help_with_an_example() -> None:
    pages = [
        ["up"],
        ["down"],
        ["close"],
        ["confirm"],
        ["break-glass"],
        ["status"],
        ["tunnels"],
        ["explain"],
        ["doctor"],
    ]
    pages += [["policy", verb] for verb in ("check", "compile", "test", "apply")] + [["decisions", "tail"]]
    for page in pages:
        done = run(*page, "--help", COLUMNS="200")
        assert (done.returncode, "Example: pointsman" in done.stdout) == (0, True), page
