"""What commands that change something tell programs, and that a failure of any sort is one value, too."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.fake_agent import answering
from tests.unit.cli.test_exit_codes import run

ANSWERS = {
    "/v1/down": {"faults": ["stop a: it is busy"]},
    "/v1/confirm": {"confirmed": True},
    "/v1/break-glass": {"until": "2030-01-01T00:00:00Z"},
    "/v1/close-glass": {"closed": True},
    "/v1/leases/revoke": {"revoked": True},
    "/v1/leases/rotate": {"tunnel": "gw-a-2"},
    "/v1/add": {"addresses": ["10.71.0.2"], "file": "[Interface]\nPrivateKey = not-for-the-terminal\n"},
    "/v1/remove": {"removed": False},
}


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["down"], {"removed": True, "faults": ["stop a: it is busy"]}),
        (["confirm"], {"confirmed": True}),
        (["break-glass", "--reason", "x"], {"open": True, "until": "2030-01-01T00:00:00Z"}),
        (["break-glass", "--end"], {"open": False, "until": None}),
        (["leases", "revoke", "vault", "ada"], {"revoked": True}),
        (["leases", "rotate", "gw-a-1"], {"replaced": "gw-a-1", "tunnel": "gw-a-2"}),
        (["gateway", "remove", "office"], {"removed": False}),
        (["gateway", "down"], {"faults": ["stop a: it is busy"]}),
    ],
)
def test_what_was_done_is_one_value_for_programs(tmp_path: Path, words: list[str], answer: Any) -> None:
    with answering(tmp_path, ANSWERS):
        done = run(*words, "--json", "--runtime", str(tmp_path))

    assert (done.returncode, json.loads(done.stdout), done.stderr) == (0, answer, "")


def test_a_tunnel_that_was_added_is_told_without_its_key(tmp_path: Path) -> None:
    file = tmp_path / "office.conf"
    words = ("gateway", "add", "office", "--kind", "wireguard", "-o", str(file), "--runtime", str(tmp_path))
    with answering(tmp_path, ANSWERS) as asked:
        done = run(*words, "--json")

    assert json.loads(done.stdout) == {"name": "office", "addresses": ["10.71.0.2"], "file": str(file)}
    assert ("not-for-the-terminal" in done.stdout, "not-for-the-terminal" in file.read_text()) == (False, True)
    assert [path for path, _ in asked.found] == ["/v1/add"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["status", "--frobnicate"], "--frobnicate"),
        (["frobnicate"], "frobnicate"),
        (["break-glass"], "say why"),
        (["break-glass", "--reason", "x", "--for", "1y"], "`1y` is not a time"),
        (["leases", "revoke", "vault"], "holder"),
        (["up", "-c", "node.yaml"], "`--json` goes with `--detach`"),
    ],
)
def test_wrong_usage_is_one_value_for_programs(words: list[str], said: str) -> None:
    done = run(*words, "--json")

    answer = json.loads(done.stdout)
    assert (done.returncode, answer["label"], answer["problems"], done.stderr) == (2, "usage", [], "")
    assert said in answer["error"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["down"], 3),
        (["confirm"], 3),
        (["close", "-c", "/nonexistent"], None),
        (["up", "--detach", "-c", "/nonexistent"], None),
        (["leases", "revoke", "vault", "ada"], 3),
        (["leases", "rotate", "gw-a-1"], 3),
        (["gateway", "down", "--runtime", "/nonexistent"], 3),
        (["lab", "token", "--name", "no-lab"], 4),
    ],
)
def test_a_change_that_fails_is_one_value_for_programs(words: list[str], code: int | None) -> None:
    done = run(*words, "--json")

    # without root the two that need it end with 4
    assert done.returncode == code if code else done.returncode in (1, 4)
    assert json.loads(done.stdout)["error"]


def test_a_command_that_ends_with_a_code_of_its_own_keeps_it() -> None:
    assert (run("version", "--json").returncode, run("lab", "status", "--name", "no-lab", "--json").returncode) == (
        0,
        1,
    )
    assert run("status", "--help", "--json").returncode == 0
