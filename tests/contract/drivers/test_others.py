"""What is the host's or somebody else's is not touched, whatever a gateway asks for."""

import subprocess
import sys
from pathlib import Path

from tests.contract.drivers.tunnel_files import wireguard_files
from tests.contract.drivers.two_hosts import AGENT, Bring, World


def test_an_address_that_the_host_has_elsewhere_is_not_taken_from_a_gateway(bring: Bring) -> None:
    tunnel = bring("openvpn", 0)
    tunnel.world.run("near", "ip", "addr", "add", "10.71.0.2/32", "dev", "lo")

    refused = tunnel.drive("tend")
    assert (refused["state"], refused["sources"]) == ("failed", [])
    assert refused["why"] == "the gateway pushed 10.71.0.2, which this host knows elsewhere"
    assert "10.71.0.2" not in tunnel.world.run("near", "ip", "addr", "show", "dev", tunnel.device)
    assert tunnel.drive("observe")["state"] == "failed"

    tunnel.world.run("near", "ip", "addr", "del", "10.71.0.2/32", "dev", "lo")
    assert tunnel.drive("tend")["state"] == "up"


def test_what_an_openvpn_gateway_pushes_changes_nothing_on_the_host(bring: Bring) -> None:
    tunnel = bring("openvpn", 0)
    routes = tunnel.world.run("near", "ip", "route") + tunnel.world.run("near", "ip", "-6", "route")

    assert [line for line in routes.splitlines() if tunnel.device in line] == []
    assert tunnel.first["mtu"] == 1400
    assert "192.0.2.66" not in Path("/etc/resolv.conf").read_text()


def test_a_link_of_somebody_else_is_not_touched(world: World) -> None:
    files = wireguard_files(world, 0)
    device = str(world.drive("near", "t", "wireguard", files["near"].file, "tend")["device"])
    world.run("near", "ip", "tuntap", "add", device, "mode", "tun")
    world.run("near", "ip", "link", "set", device, "alias", "theirs")

    full = ["ip", "netns", "exec", world.host("near"), sys.executable, str(AGENT), str(world.folder / "near"), "t"]
    done = subprocess.run(
        [*full, "wireguard", files["near"].file, "start"], capture_output=True, text=True, check=False
    )

    assert "it belongs to `theirs`" in done.stderr
    assert "alias theirs" in world.run("near", "ip", "link", "show", device)
