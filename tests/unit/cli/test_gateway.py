"""`gateway check` tells people and programs what is wrong with a gateway file, on any host."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pointsman.system.certificates import authority, issue

CA = authority("gateways", 90)
OWN = issue(CA, "gw", server=True, days=90, alternatives=["192.0.2.21"])
SITE = {
    "apiVersion": "pointsman/v1",
    "kind": "Gateway",
    "name": "gw-a",
    "user": "no-such-user",
    "uplinks": ["eth1"],
    "api": {"listen": ["192.0.2.21"], "certificate": "gw.crt", "key": "gw.key", "nodes": "ca.crt"},
    "wireguard": {"address": "192.0.2.21", "networks": ["10.71.0.0/24"]},
}


def check(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "pointsman", "gateway", "check", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    texts = {
        "gw.crt": OWN.certificate,
        "gw.key": OWN.key,
        "ca.crt": CA.certificate,
        "gateway.yaml": yaml.safe_dump(SITE),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    return tmp_path / "gateway.yaml"


def test_a_file_in_order_is_told_with_what_only_its_host_can_tell(site: Path) -> None:
    done = check(str(site))

    assert (done.returncode, done.stdout.startswith(f"{site}: no problems; gives wireguard; its certificate")) == (
        0,
        True,
    )
    assert "user `no-such-user` does not exist here" in done.stderr


def test_programs_are_told_the_same(site: Path) -> None:
    done = check(str(site), "--json")
    answer = json.loads(done.stdout)

    assert (done.returncode, done.stderr) == (0, "")
    assert (answer["valid"], answer["name"], answer["kinds"], answer["problems"]) == (True, "gw-a", ["wireguard"], [])
    assert [one["label"] for one in answer["warnings"]] == ["unfit-user"]
    assert answer["certificate_until"].endswith("+00:00")


def test_problems_have_their_place_and_end_with_1(site: Path) -> None:
    site.with_name("gw.key").chmod(0o644)
    site.with_name("ca.crt").unlink()
    done = check(str(site), "--json")
    answer = json.loads(done.stdout)

    assert (done.returncode, answer["valid"], answer["error"]) == (1, False, "2 problems")
    assert sorted(one["label"] for one in answer["problems"]) == ["open-key", "unreadable"]
    assert all(one["file"] == str(site) and one["line"] and one["column"] for one in answer["problems"])
    assert check(str(site)).returncode == 1


def test_away_from_its_host_the_file_alone_is_judged(site: Path) -> None:
    for name in ("gw.crt", "gw.key", "ca.crt"):
        site.with_name(name).unlink()

    assert (check(str(site), "--no-files").returncode, check(str(site)).returncode) == (0, 1)


def test_a_node_file_that_asks_another_gateway_is_told(site: Path) -> None:
    gateway = (
        "{name: g, kind: wireguard, level: strong, address: 192.0.2.9, ca: ca.crt, certificate: gw.crt, key: gw.key}"
    )
    node = site.with_name("node.yaml")
    node.write_text(
        "{apiVersion: pointsman/v1, kind: Node, policy: p, uplinks: [eth0],\n"
        f"gateways: [{gateway}],\n"
        "tunnels: [{name: d, kind: direct, level: none, device: eth0}]}"
    )
    done = check(str(site), "--node", str(node))

    assert (done.returncode, "no gateway of the node file is at 192.0.2.21" in done.stderr) == (1, True)
