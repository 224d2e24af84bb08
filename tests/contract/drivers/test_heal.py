"""What dies, is forgotten or is undone is seen, and mended."""

import os
import signal
import subprocess
import time

import pytest

from pointsman.lab import wait
from tests.contract.drivers.two_hosts import INNER, Bring, Tunnel, daemons, until

KINDS = pytest.mark.parametrize("kind", ["wireguard", "openvpn"])


@KINDS
def test_a_gateway_that_forgot_its_sessions_is_greeted_anew(bring: Bring, kind: str) -> None:
    tunnel = bring(kind, 0)
    assert tunnel.carries(0)
    far_end_starts_again(tunnel)

    revived = time.monotonic()
    tunnel.drive("revive")

    seen = until(lambda: tunnel.drive("tend"), "'state': 'up'")
    assert float(str(seen["age"] or 0)) <= time.monotonic() - revived
    assert tunnel.carries(0)
    assert time.monotonic() - revived < 8


@KINDS
def test_a_killed_daemon_is_seen_and_a_new_start_heals(bring: Bring, kind: str) -> None:
    tunnel = bring(kind, 0)
    os.kill(tunnel.world.pid("near", "t"), signal.SIGKILL)

    gone = until(lambda: tunnel.drive("tend"), "'state': 'gone'")
    assert gone["sources"] == []
    assert gone["why"]
    assert not tunnel.world.run("near", "ip", "-4", "route", "get", "198.51.100.1", check=False)
    assert tunnel.drive("up")["state"] == "up"
    assert tunnel.carries(0)


@KINDS
def test_a_link_that_somebody_deleted_is_seen_and_a_new_start_heals(bring: Bring, kind: str) -> None:
    tunnel = bring(kind, 0)
    tunnel.world.run("near", "ip", "link", "del", tunnel.device)

    assert until(lambda: tunnel.drive("tend"), "'state': 'gone'")["sources"] == []
    assert tunnel.drive("up")["state"] == "up"
    assert len(daemons(tunnel)) == 1
    assert tunnel.carries(0)


@KINDS
def test_what_somebody_undid_on_the_link_is_repaired(bring: Bring, kind: str) -> None:
    tunnel = bring(kind, 0)
    tunnel.world.run("near", "ip", "addr", "flush", "dev", tunnel.device)
    tunnel.world.run("near", "ip", "link", "set", tunnel.device, "down", "mtu", "1300")

    assert tunnel.drive("tend") | {"age": 0, "sent": 0} == tunnel.first | {"age": 0, "sent": 0}


def far_end_starts_again(tunnel: Tunnel) -> None:
    """End the far end and start another one, which calls nobody by itself."""
    world = tunnel.world
    if tunnel.kind == "wireguard":
        file = world.folder / "far.conf"
        world.drive("far", "g", "wireguard", str(file), "stop")
        lines = file.read_text().splitlines()
        file.write_text("\n".join(line for line in lines if not line.startswith("Persistent")) + "\n")
        far = world.drive("far", "g", "wireguard", str(file), "start")
        for address in INNER["near"]:
            world.run("far", "ip", "route", "replace", address, "dev", str(far["device"]))
        return
    for pid in map(int, subprocess.check_output(["ip", "netns", "pids", world.host("far")]).split()):
        os.kill(pid, signal.SIGKILL)
    command = ["ip", "netns", "exec", world.host("far"), "openvpn", "--config", str(world.folder / "far.ovpn")]
    wait.until(lambda: not subprocess.check_output(["ip", "netns", "pids", world.host("far")]), "the far end ends")
    with open(world.folder / "far.log", "wb") as log:
        subprocess.Popen(command, stdout=log, stderr=log)
    told = world.folder / "far.log"
    wait.until(lambda: "Initialization Sequence Completed" in told.read_text(), "the far end is back")
