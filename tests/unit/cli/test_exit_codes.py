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
from tests.unit.tunnels.samples import WIREGUARD

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
        (["decisions", "tail"], 3),
        (["decisions", "tail", "--no-follow"], 3),
        (["break-glass", "--end"], 3),
        (["break-glass"], 2),
        (["--version"], 0),
        (["explain", "http://a/", "--claim", "sub", "--policy", str(EXAMPLES / "policy.yaml")], 1),
        (["explain", "http://a/", "--policy", "/nonexistent"], 1),
        (["policy", "test", str(EXAMPLES / "policy.yaml"), "/nonexistent"], 1),
        (["doctor", "-c", "/nonexistent"], 1),
        (["doctor"], 3),
        (["gateway", "check", "/nonexistent"], 1),
        (["gateway", "check", str(EXAMPLES / "policy.yaml")], 1),
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


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["status", "--json"], 3),
        (["policy", "check", "--json", "/nonexistent"], 1),
        (["doctor", "--json", "-c", "/nonexistent"], 1),
        (["gateway", "check", "--json", "/nonexistent"], 1),
        (["explain", "--json", "ftp://a/", "--policy", str(EXAMPLES / "policy.yaml")], 1),
    ],
)
def test_every_failure_is_one_json_value_for_programs(words: list[str], code: int) -> None:
    done = run(*words)

    answer = json.loads(done.stdout)
    assert (done.returncode, bool(answer["error"]), isinstance(answer["problems"], list)) == (code, True, True)


def test_a_node_file_is_judged_away_from_its_host(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text(
        "{apiVersion: pointsman/v1, kind: Node, policy: p, uplinks: [eth0], users: {proxy: no-such-user},\n"
        "tunnels: [{name: d, kind: direct, level: none, device: eth0}]}"
    )

    found = json.loads(run("doctor", "--json", "-c", str(tmp_path / "node.yaml")).stdout)
    checked = run("policy", "check", str(EXAMPLES / "policy.yaml"), "--node", str(tmp_path / "node.yaml"))

    users = [(one["level"], "no-such-user" in one["detail"]) for one in found if one["what"] == "users"]
    assert users[0] == ("problem", True)
    assert ("no-such-user" in checked.stderr, "no tunnel of the pool" in checked.stderr) == (False, True)


def test_notes_on_the_node_s_files_are_no_problems(tmp_path: Path) -> None:
    text = WIREGUARD.replace("0.0.0.0/0, ::/0", "192.0.2.0/24")
    (tmp_path / "a.conf").write_text(text.replace("Address", "DNS = 192.0.2.53\nAddress"))
    (tmp_path / "node.yaml").write_text(
        "{apiVersion: pointsman/v1, kind: Node, policy: p, uplinks: [eth0],\n"
        "tunnels: [{name: a, kind: wireguard, level: strong, file: a.conf}]}"
    )
    (tmp_path / "p.yaml").write_text(
        "{apiVersion: pointsman/v1, kind: Policy, metadata: {name: x},"
        "\ndestinations: [{name: x, addresses: [203.0.113.7]}],"
        "\nprofiles: [{name: p, encryption: strong}],"
        "\nrules: [{name: r, when: 'destination.name == \"x\"', profile: p}]}"
    )
    words = ("policy", "check", str(tmp_path / "p.yaml"), "--node", str(tmp_path / "node.yaml"))

    done, answer = run(*words), json.loads(run(*words, "--json").stdout)

    assert (done.returncode, done.stderr) == (0, "")
    assert f"{tmp_path}/a.conf:8:1: note: `AllowedIPs` of tunnel `a` leave out `x` (203.0.113.7/32)" in done.stdout
    assert [(note["line"], note["label"]) for note in answer["notes"]] == [(3, "wg-ignored"), (8, "wg-allowed")]
    assert (answer["valid"], answer["problems"]) == (True, [])


def test_what_is_wrong_with_policy_and_node_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text("{apiVersion: pointsman/v1, kind: Node, uplinks: [eth0]}")
    (tmp_path / "p.yaml").write_text("{apiVersion: pointsman/v1, kind: Policy}")

    done = run("policy", "check", str(tmp_path / "p.yaml"), "--node", str(tmp_path / "node.yaml"), "--json")

    files = [Path(problem["file"]).name for problem in json.loads(done.stdout)["problems"]]
    assert (done.returncode, set(files)) == (1, {"node.yaml", "p.yaml"})


def test_a_host_without_programs_is_told_what_it_lacks(tmp_path: Path) -> None:
    gateway = "{name: g, kind: openvpn, level: strong, address: 192.0.2.1, ca: ca, certificate: crt, key: key}"
    (tmp_path / "node.yaml").write_text(
        "{apiVersion: pointsman/v1, kind: Node, policy: p, uplinks: [eth0],\n"
        f"gateways: [{gateway}],\n"
        "tunnels: [{name: d, kind: direct, level: none, device: eth0}]}"
    )

    done = run("doctor", "--json", "-c", str(tmp_path / "node.yaml"), PATH="/nonexistent")

    found = {one["what"]: (one["level"], one["detail"]) for one in json.loads(done.stdout)}
    assert done.returncode == 1
    assert found["guard"] == ("problem", "not asked: `nft` is not installed; install the package `nftables`")
    assert {name: found[name][0] for name in ("foreign rules", "foreign firewall", "stacked uplinks")} == {
        "foreign rules": "warning",
        "foreign firewall": "warning",
        "stacked uplinks": "warning",
    }
    assert found.keys() >= {"openvpn", "/dev/net/tun"}
    assert found["gateway files"][0] == "problem"


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text("apiVersion: pointsman/v1\nkind: Node\nuplinks: [eth0]\n")

    done = run("policy", "check", str(tmp_path / "node.yaml"))

    assert (done.returncode, "this is a node file, not a policy" in done.stderr) == (1, True)
    assert done.stderr.count("node.yaml:") == 1


def test_a_table_too_wide_for_the_screen_is_printed_as_lists(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "30")
        show.table("pool", ("tunnel", "kind", "state", "mtu", "device", "why"), [("a", "b" * 19, "up", 9, "", "of it")])
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "pool",
        "a",
        f"    kind: {'b' * 19}",
        "    state: up · mtu: 9",
        "    why: of it",
    ]


def test_a_test_of_a_policy_that_fails_ends_with_1(tmp_path: Path) -> None:
    cases = (EXAMPLES / "policy.test.yaml").read_text().replace("profile: vault", "profile: plain")
    (tmp_path / "cases.yaml").write_text(cases)

    done = run("policy", "test", "--json", str(EXAMPLES / "policy.yaml"), str(tmp_path / "cases.yaml"))

    outcomes = json.loads(done.stdout)
    assert (done.returncode, [o["passed"] for o in outcomes].count(False)) == (1, 1)
