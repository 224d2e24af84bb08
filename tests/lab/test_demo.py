"""The demo as a new user runs it; and the demo when a request takes another path than the one it is judged by."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pointsman.cli.demo import example
from pointsman.lab import life, names
from pointsman.lab.demo.judging import Row
from pointsman.lab.demo.run import run
from pointsman.lab.names import Lab

VAULT = {"198.51.100.21", "198.51.100.22"}
SOURCES = {"vault": VAULT, "payments": {"198.51.100.23"}, "plain": {"192.0.2.10"}}


class Listener:
    def __init__(self) -> None:
        self.rows: list[Row] = []

    def stage(self, title: str) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def profiles(self, found: list[dict[str, object]]) -> None:
        pass

    def row(self, row: Row) -> None:
        self.rows.append(row)


@pytest.fixture
def own_lab(worker_id: str) -> Iterator[Lab]:
    lab = names.lab(f"{os.environ.get('POINTSMAN_RUN') or f'r{os.getpid()}'}-{worker_id}-d")
    yield lab
    life.down(lab)


def test_every_path_of_the_demo_is_as_decided_and_nothing_is_left_behind(own_lab: Lab) -> None:
    argv = [sys.executable, "-m", "pointsman", "demo", "--json", "--name", own_lab.name]

    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)

    found = json.loads(done.stdout)
    assert (done.returncode, found["wrong"], done.stderr) == (0, [], "")
    assert found["controls"] == {"before the guard": 3, "behind the guard": 0}
    assert found["canaries"] == 0 < found["frames"]
    for row in found["rows"]:
        if row["decided"]["profile"] and row["observed"]["sources"] and ":" not in row["call"]["address"]:
            assert {*row["observed"]["sources"]} <= SOURCES[row["decided"]["profile"]]
    answers = [row["answer"] for row in found["rows"]]
    assert {"200", "403", "421", "reset", "grpc 0", "grpc 7", "200, 429"} <= set(answers)
    assert (found["rows"][-1]["decided"]["profile"], answers[-1]) == ("payments", "503")
    _judge_holders([row for row in found["rows"] if row["decided"]["profile"] == "vault"])
    assert own_lab not in names.standing()


def test_the_demo_fails_where_a_path_is_not_the_one_that_it_is_judged_by(own_lab: Lab, tmp_path: Path) -> None:
    text = example().read_text()
    other = tmp_path / "other.yaml"
    other.write_text(text.replace('user.role in ["admin", "clerk"]', 'user.role == "admin"'))
    assert other.read_text() != text
    listener = Listener()

    outcome = run(own_lab, example(), listener, judged_by=other)

    wrong = {str(row.call) for row in listener.rows if row.differs}
    assert wrong == {"POST pay.example/charge"}, outcome.wrong
    assert "POST pay.example/charge: reached the origin from 198.51.100.23, decided to stay" in outcome.wrong
    assert own_lab not in names.standing()


def _judge_holders(rows: list[dict[str, Any]]) -> None:
    """One tunnel each; ada's is replaced twice, the second time at the other gateway, and then she has none."""
    tunnels = {user: _once_each(rows, user) for user in ("ada", "ann")}
    first, renewed, moved, none = tunnels["ada"]
    assert none == ""
    assert len({first, renewed, moved} | {*tunnels["ann"]}) >= 4
    assert renewed.rpartition("-")[0] != moved.rpartition("-")[0], "another gateway"
    assert [row["answer"] for row in rows if row["call"]["user"] == "ada"][-1] == "503"
    assert any("0 of 1" in row["told"] and row["told"].endswith("requests failed") for row in rows)
    assert any(row["told"].startswith("gone at gw-") for row in rows)
    assert rows[0]["told"].endswith("its tunnel was made meanwhile")
    assert sum("the agent is stopped" in row["told"] for row in rows) == 2


def _once_each(rows: list[dict[str, Any]], user: str) -> list[str]:
    """The tunnels that a user had, in order."""
    return list(dict.fromkeys(row["decided"]["tunnel"] for row in rows if row["call"]["user"] == user))
