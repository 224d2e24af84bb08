"""Two hosts for each test, and a tunnel from one to the other for those that ask."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pointsman.lab import spaces
from tests.contract.drivers.tunnel_files import openvpn_files, wireguard_files
from tests.contract.drivers.two_hosts import INNER, OUTER, Bring, Tunnel, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with spaces.space("near") as near, spaces.space("far") as far:
        made = World(tmp_path, {"near": near, "far": far})
        wire = ["ip", "-n", near, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", far]
        subprocess.run(wire, check=True)
        for side in ("near", "far"):
            v4, v6 = OUTER[side]
            made.run(side, "ip", "addr", "add", f"{v4}/24", "dev", "eth0")
            made.run(side, "ip", "addr", "add", f"{v6}/64", "dev", "eth0", "nodad")
            made.run(side, "ip", "link", "set", "lo", "up")
            made.run(side, "ip", "link", "set", "eth0", "up")
        yield made


@pytest.fixture
def bring(world: World) -> Bring:
    def up(kind: str, family: int) -> Tunnel:
        if kind == "wireguard":
            files = wireguard_files(world, family)
            far = world.drive("far", "g", kind, files["far"].file, "start")
            for address in INNER["near"]:
                world.run("far", "ip", "route", "replace", address, "dev", str(far["device"]))
        else:
            files = openvpn_files(world, family)
            log = open(world.folder / "far.log", "wb")  # noqa: SIM115
            command = ["ip", "netns", "exec", world.host("far"), "openvpn", "--config", files["far"].file]
            subprocess.Popen(command, stdout=log, stderr=log)
        return Tunnel(world, kind, files["near"], world.drive("near", "t", kind, files["near"].file, "up"))

    return up
