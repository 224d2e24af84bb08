"""Real daemons between two network namespaces: when there is a tunnel, and what it carries."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.drivers.tunnel_files import openvpn_files, wireguard_files
from tests.contract.drivers.two_hosts import CALL, OUTER, SERVE, Bring, World, until

KINDS = pytest.mark.parametrize("kind", ["wireguard", "openvpn"])
FAMILIES = pytest.mark.parametrize("family", [0, 1], ids=["outer-v4", "outer-v6"])


@KINDS
@FAMILIES
def test_a_tunnel_comes_up_and_carries_both_families(bring: Bring, kind: str, family: int) -> None:
    tunnel = bring(kind, family)

    assert tunnel.first["state"] == "up", tunnel.first
    assert tunnel.first["mtu"] == 1400
    assert len(tunnel.first["sources"]) == 2  # type: ignore[arg-type]
    assert tunnel.carries(0)
    assert tunnel.carries(1)


@KINDS
def test_tcp_goes_through_with_the_segment_size_of_the_tunnel(bring: Bring, kind: str) -> None:
    tunnel = bring(kind, 0)
    world = tunnel.world
    assert tunnel.carries(0)
    serve = ["ip", "netns", "exec", world.host("far"), sys.executable, "-c", SERVE, "10.71.0.1"]
    with subprocess.Popen(serve):
        mss, moved = world.run("near", sys.executable, "-c", CALL, "10.71.0.2", "10.71.0.1", "3000000").split()

    assert int(moved) == 3_000_000
    assert int(mss) <= 1360


def test_a_gateway_that_cannot_be_reached_is_no_tunnel(world: World) -> None:
    files = wireguard_files(world, 0)
    seen = world.drive("near", "t", "wireguard", files["near"].file, "start")

    assert (seen["state"], seen["why"]) == ("provisioning", "the gateway has not answered yet")


def test_an_openvpn_gateway_with_another_certificate_is_refused(world: World, bring: Bring) -> None:
    files = openvpn_files(world, 0)
    openvpn_files(world, 0)  # the gateway's file now has another key pair
    near = Path(files["near"].file)
    client = near.read_text()
    near.write_text(client.replace(client.split("<peer-fingerprint>\n")[1][:5], "00:11", 1))
    log = open(world.folder / "far.log", "wb")  # noqa: SIM115
    full = ["ip", "netns", "exec", world.host("far"), "openvpn", "--config", files["far"].file]
    subprocess.Popen(full, stdout=log, stderr=log)
    world.drive("near", "t", "openvpn", str(near), "start")
    words = world.folder / "near/tunnels/t/log"

    assert until(lambda: words.read_text(), "certificate hash verification failed")
    assert world.drive("near", "t", "openvpn", str(near), "tend")["sources"] == []


def test_direct_is_up_while_its_device_is(world: World) -> None:
    assert world.drive("near", "d", "direct", "eth0", "tend")["sources"] == list(OUTER["near"])
    assert world.drive("near", "d", "direct", "eth0", "start")["state"] == "up"

    world.run("near", "ip", "link", "set", "eth0", "down")

    assert world.drive("near", "d", "direct", "eth0", "tend")["why"] == "device `eth0` is down"
