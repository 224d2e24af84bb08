"""One daemon for each tunnel, whatever became of the agent that started it. Every verb is a new agent."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.contract.drivers.two_hosts import AGENT, Bring, daemons

KINDS = pytest.mark.parametrize("kind", ["wireguard", "openvpn"])


@KINDS
def test_a_restarted_agent_adopts_the_daemon_and_makes_no_second_one(bring: Bring, kind: str) -> None:
    tunnel = bring(kind, 0)
    before = tunnel.world.pid("near", "t")

    again = tunnel.drive("up")

    assert again["state"] == "up"
    assert tunnel.world.pid("near", "t") == before
    assert daemons(tunnel) == [before]
    assert tunnel.carries(0)


@KINDS
def test_a_lost_pid_file_leads_to_no_second_daemon(bring: Bring, kind: str) -> None:
    tunnel = bring(kind, 0)
    before = tunnel.world.pid("near", "t")
    (tunnel.world.folder / "near/tunnels/t/pid").unlink()

    again = tunnel.drive("up")

    assert again["state"] == "up", again
    assert daemons(tunnel) == [before]


@KINDS
def test_a_file_that_changed_makes_a_new_tunnel_in_place_of_the_old(bring: Bring, kind: str) -> None:
    tunnel = bring(kind, 0)
    before = tunnel.world.pid("near", "t")
    file = Path(tunnel.near.file)
    file.write_text(file.read_text().replace("MTU = 1400", "MTU = 1380").replace("client\n", "client\ntun-mtu 1380\n"))

    assert tunnel.drive("tend")["why"] == "it was made from another file"
    again = tunnel.drive("up")
    assert (again["state"], again["mtu"]) == ("up", 1380)
    assert daemons(tunnel) == [tunnel.world.pid("near", "t")] != [before]


@KINDS
def test_a_stopped_tunnel_leaves_nothing(bring: Bring, kind: str) -> None:
    tunnel = bring(kind, 0)

    assert tunnel.drive("stop")["state"] == "gone"
    assert tunnel.drive("stop")["state"] == "gone"
    assert daemons(tunnel) == []
    assert tunnel.device not in tunnel.world.run("near", "ip", "link")
    assert not (tunnel.world.folder / "near/tunnels/t").exists()


@KINDS
def test_an_agent_that_is_killed_while_it_starts_a_tunnel_leaves_at_most_one_daemon(bring: Bring, kind: str) -> None:
    tunnel = bring(kind, 0)
    world = tunnel.world
    verb = [str(AGENT), str(world.folder / "near"), "t", kind, tunnel.near.file, "up"]
    full = ["ip", "netns", "exec", world.host("near"), sys.executable, *verb]
    for delay in (0.35, 0.45, 0.55, 0.65, 0.75, 0.85):
        tunnel.drive("stop")
        with subprocess.Popen(full, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as agent:
            with suppress(subprocess.TimeoutExpired):
                agent.wait(delay)
            agent.kill()
        left = daemons(tunnel)

        assert len(left) <= 1
        assert tunnel.drive("up")["state"] == "up"
        assert len(daemons(tunnel)) == 1

    assert tunnel.carries(0)
