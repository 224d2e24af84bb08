"""A gateway that is killed at any moment: what it granted, serves and lets pass are the same afterwards."""

import json
import re
import subprocess
import sys
import threading
import time

from pointsman.lab.wait import until
from pointsman.tunnels.drivers import uapi
from tests.contract.gateway.far_end import World
from tests.contract.gateway.test_access import asked


def granted(world: World) -> set[str]:
    kept = json.loads((world.folder / "state/grants.json").read_text())["grants"]
    return {grant["addresses"][0] for grant in kept}


def served(world: World) -> set[str]:
    control = world.folder / "run/wireguard/run/wireguard/wg0.sock"
    settings = uapi.understand(uapi.exchange(control, "get=1\n\n")).settings
    return {said[2].split("/")[0] for said in settings if said[1] == "allowed_ip" and "." in said[2]}


def let_pass(world: World) -> set[str]:
    rules = world.run("gate", "nft", "list", "set", "inet", "pointsman_gateway", "own4")
    return set(re.findall(r"[0-9]+[.][0-9.]+", rules))


def test_a_gateway_killed_at_any_moment_leaves_no_half_tunnel(gate: World) -> None:
    assert gate.ask("PUT", "/v1/tunnels/kept", asked())[0] == 201
    for round_, delay in enumerate((0.0, 0.02, 0.04, 0.06, 0.08, 0.12, 0.16)):

        def change(name: str) -> None:
            gate.ask("PUT", f"/v1/tunnels/{name}", asked())
            gate.ask("DELETE", f"/v1/tunnels/{name}")

        asking = [threading.Thread(target=change, args=(f"{round_}-{number}",)) for number in range(3)]
        for one in asking:
            one.start()
        time.sleep(delay)  # the moment is what this test is about
        gate.kill()
        for one in asking:
            one.join()
        gate.start()

        until(lambda: granted(gate) == served(gate) == let_pass(gate), "all three agree")
        assert "10.71.0.2" in granted(gate)


def test_a_daemon_without_a_gateway_is_adopted_and_never_started_twice(gate: World) -> None:
    def daemons() -> list[str]:
        pids = subprocess.check_output(["ip", "netns", "pids", gate.spaces["gate"]], text=True).split()
        names = [subprocess.check_output(["ps", "-o", "comm=", "-p", pid], text=True).strip() for pid in pids]
        return sorted(
            f"{name} {pid}" for name, pid in zip(names, pids, strict=True) if name in ("wireguard-go", "openvpn")
        )

    before = daemons()
    gate.kill()
    (gate.folder / "run/wireguard/pid").unlink()
    gate.start()

    assert daemons() == before
    assert len(before) == 2


def test_a_server_that_the_file_has_no_more_is_gone_with_its_tunnels(gate: World) -> None:
    gate.grant("openvpn", "a")
    gate.grant("wireguard", "b")
    gate.kill()
    gate.write_site(openvpn=None)
    gate.start()

    assert [tunnel["id"] for tunnel in gate.tunnels()] == ["b"]
    assert "tun0" not in gate.run("gate", "ip", "link")
    assert not (gate.folder / "run/openvpn").exists()


def test_what_a_killed_gateway_was_writing_is_gone_when_it_serves_again(gate: World) -> None:
    gate.kill()
    gate.written("state/wireguard.key.new", "half a key")
    gate.start()

    assert sorted(path.name for path in (gate.folder / "state").iterdir()) == ["openvpn.json", "wireguard.key"]


def test_only_one_gateway_runs_on_a_host(gate: World) -> None:
    argv = [sys.executable, "-m", "pointsman", "gateway", "up", "-c", str(gate.folder / "gateway.yaml")]
    full = ["ip", "netns", "exec", gate.spaces["gate"], *argv]
    second = subprocess.run(full, capture_output=True, text=True, timeout=30, check=False)

    assert second.returncode == 4
    assert "another one runs here" in second.stderr
