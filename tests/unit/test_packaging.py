"""What the units promise: closed before there is a network, and nothing of ours opened by systemd."""

from pathlib import Path

import pytest

from pointsman.cli import gateway, node
from pointsman.node.config import Users

UNITS = Path(__file__).parents[2] / "packaging" / "systemd"
GUARD, AGENT, GATEWAY = "pointsman-guard.service", "pointsman.service", "pointsman-gateway.service"


def unit(name: str) -> dict[str, list[str]]:
    """Return the words of each setting of a unit, in all its lines."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        if line and line[0] not in "#[":
            setting, _, value = line.partition("=")
            found.setdefault(setting, []).extend(value.split())
    return found


def test_the_guard_stands_before_any_network_and_before_the_agent() -> None:
    guard = unit(GUARD)

    assert {"network-pre.target", AGENT} <= set(guard["Before"])
    # systemd orders nothing after a target that nobody wants
    assert guard["Wants"] == ["network-pre.target"]
    # with the default ones it would come after sysinit.target, and so after what configures a network early
    assert guard["DefaultDependencies"] == ["no"]
    assert guard["WantedBy"] == ["sysinit.target"]
    assert set(guard["After"]) == {"local-fs.target", "systemd-sysusers.service"}
    assert (guard["Type"], guard["RemainAfterExit"]) == (["oneshot"], ["yes"])
    assert guard["ExecStart"][1:] == ["close", "-c", "/etc/pointsman/node.yaml"]


def test_the_agent_does_not_run_without_the_guard() -> None:
    agent = unit(AGENT)

    assert agent["Requires"] == [GUARD]
    assert GUARD in agent["After"]
    assert agent["ExecStart"][1:] == ["up", "-c", "/etc/pointsman/node.yaml"]


@pytest.mark.parametrize("name", [AGENT, GATEWAY])
def test_what_carries_outlives_the_unit_that_started_it(name: str) -> None:
    found = unit(name)

    assert (found["KillMode"], found["Restart"], found["RuntimeDirectoryPreserve"]) == (
        ["process"],
        ["always"],
        ["yes"],
    )


@pytest.mark.parametrize("name", [GUARD, AGENT, GATEWAY])
def test_no_unit_opens_the_host(name: str) -> None:
    assert not {"ExecStop", "ExecStopPost", "ExecReload"} & unit(name).keys()
    assert not {"down", "break-glass", "--observe"} & set(unit(name)["ExecStart"])


def test_folders_of_the_units_are_those_of_the_program() -> None:
    folders = {name: f"/run/{unit(name)['RuntimeDirectory'][0]}" for name in (AGENT, GATEWAY)}

    assert folders == {AGENT: str(node.DEFAULT_RUNTIME), GATEWAY: str(gateway.DEFAULT_RUNTIME)}


def test_users_are_made_under_the_names_that_the_node_file_has() -> None:
    made = [line.split()[1] for line in (UNITS / "pointsman.sysusers").read_text().splitlines() if line[:2] == "u "]
    users = Users.model_json_schema()["properties"]

    assert made == [users["proxy"]["default"], users["tunnels"]["default"]]
