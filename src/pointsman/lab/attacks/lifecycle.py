"""Faults in the life of our processes: killed, ended, started twice, given broken files."""

import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from os import kill
from pathlib import Path

from pointsman.lab import exec as on
from pointsman.lab import world
from pointsman.lab.attacks import dumps
from pointsman.lab.attacks.bench import Bench
from pointsman.lab.attacks.case import POLICY
from pointsman.lab.attacks.trouble import REFUSALS, broken, held, told, traffic
from pointsman.lab.wait import until


def boot_under_flood(bench: Bench) -> str:
    """Take the agent down, close the host as early boot does, and start under a flood."""
    _down(bench)
    seen = "open host seen" if bench.witness.control() == 3 else "open host not seen"
    bench.on("pointsman", "close", "-c", str(bench.lab.node / "node.yaml"))
    silent = "closed host silent" if bench.witness.control() == 0 else "closed host seen"
    with traffic(bench, "flood", 8) as flood:
        bench.start_agent()
    return f"{seen}, {silent}, {_well(bench)} ({told(flood)})"


def agent_killed(bench: Bench) -> str:
    """Kill the agent under load and leave it dead for a while."""
    with traffic(bench, "flows", 4) as flows:
        _kill(bench, "agent")
        time.sleep(1)
        dead = f"{_well(bench)} ({held(bench)})".replace(" (HELD)", "")
    proxy = bench.pids("envoy")
    bench.start_agent()
    adopted = "adopted" if bench.pids("envoy") == proxy else "started anew"
    return f"{dead} ({told(flows)}), {adopted}, ROUTE({bench.ask()})"


def proxy_killed(bench: Bench) -> str:
    """Kill the proxy ten times, at moments of no pattern."""
    dice = random.Random(7)  # noqa: S311 -- the same moments in every run
    before = _size(bench)
    seen: set[str] = set()
    slowest = 0.0
    for _ in range(10):
        time.sleep(dice.random() * 0.5)
        _kill(bench, "envoy")
        seen.add(bench.ask())
        seen.add("HELD" if bench.witness.control() == 0 else "OPEN")
        slowest = max(slowest, bench.until_routed())
    left = seen - REFUSALS - {"wg-a", "HELD"}
    after = _size(bench)
    grown = "nothing grew" if after <= before else f"{before} grew to {after}"
    return f"{'FC' if not left else str(left)}, {held(bench)}, back each time ({slowest:.1f} s at most), {grown}"


def daemon_killed(bench: Bench) -> str:
    """Kill the WireGuard daemon of one tunnel."""
    device, kernel = bench.device("wg-a"), not bench.pids("wireguard")
    if kernel:
        return "wg-b unaffected, " + broken(bench, lambda: bench.on("ip", "link", "del", device))
    others: list[str] = []

    def end() -> None:
        for pid in bench.pids("wireguard"):
            if device.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                kill(pid, signal.SIGKILL)
        others.append(_gold(bench))

    said = broken(bench, end)
    others.append(_gold(bench))
    return f"wg-b {'unaffected' if set(others) == {'wg-b'} else str(others)}, {said}"


def agent_killed_while_starting(bench: Bench) -> str:
    """Kill the agent at eight moments of its start, on a host that is down, and compare with a plain start."""
    _down(bench)
    bench.start_agent()
    golden = _whole(bench)
    _down(bench)
    bench.on("pointsman", "close", "-c", str(bench.lab.node / "node.yaml"))
    dice = random.Random(11)  # noqa: S311 -- the same moments in every run
    held = True
    argv = [sys.executable, "-m", "pointsman", "up", "-c", str(bench.lab.node / "node.yaml")]
    for step in range(8):
        agent = on.start(bench.lab, world.INSTANCE, argv, "agent")
        time.sleep(0.3 + step * 0.4 + dice.random() * 0.2)
        agent.send_signal(signal.SIGKILL)
        agent.wait(10)
        held = held and bench.witness.control() == 0
    bench.start_agent()
    bench.until_routed()
    differs = dumps.difference(golden, _whole(bench))
    return f"{'HELD' if held else 'OPEN'}, ROUTE({bench.ask()}), {differs or 'as after a plain start'}"


def killed_while_going_down(bench: Bench) -> str:
    """Kill the agent while it goes down, then ask once more."""
    config = str(bench.lab.node / "node.yaml")
    for pause in (0.02, 0.15, 0.4, 0.8):
        with ThreadPoolExecutor(1) as beside:
            going = beside.submit(bench.post, "/v1/down", {})
            time.sleep(pause)
            for pid in bench.pids("agent"):
                kill(pid, signal.SIGKILL)
            going.exception(20)  # nobody may be left to answer
        bench.on("pointsman", "down", "-c", config)
        differs = dumps.difference(bench.untouched, dumps.kernel(bench.lab))
        bench.start_agent()
        if differs:
            return differs
    return "as before the first start"


def up_and_down(bench: Bench) -> str:
    """Go down after traffic and compare with what was there before the first start."""
    bench.until_routed()
    _down(bench)
    differs = dumps.difference(bench.untouched, dumps.kernel(bench.lab))
    left = [program for program in ("envoy", "wireguard", "openvpn") if bench.pids(program)]
    bench.start_agent()
    return differs or (f"still running: {left}" if left else "as before the first start")


def broken_files(bench: Bench) -> str:
    """Replace the proxy's files by others that it must refuse."""
    before = bench.status()["policy"]["version"]
    folder = bench.lab.runtime / "envoy"
    kept = {path: path.read_text() for path in folder.glob("*/*.json")}
    if not kept:
        return f"no files in {folder}"
    try:
        for path in kept:
            fresh = path.with_suffix(".tmp")
            fresh.write_text('{"version_info": "9", "resources": [{"@type": "nonsense"}]}')
            fresh.chmod(0o644)
            fresh.replace(path)
        time.sleep(1)
        said = bench.ask()
    finally:
        for path, text in kept.items():
            fresh = path.with_suffix(".tmp")
            fresh.write_text(text)
            fresh.chmod(0o644)
            fresh.replace(path)
    return f"refused, ROUTE({said}), {_version(bench, before)}"


def broken_policy(bench: Bench) -> str:
    """Apply a policy that is none."""
    before = bench.status()["policy"]["version"]
    bad = bench.lab.node / "bad.yaml"
    bad.write_text(
        POLICY.read_text().replace("profile: a}", "profile: a").replace("profile: plain", "profile: nowhere")
    )
    done = bench.pointsman("policy", "apply", str(bad))
    return f"{'refused' if done.returncode else 'accepted'}, ROUTE({bench.ask()}), {_version(bench, before)}"


def agent_ended(bench: Bench) -> str:
    """End the agent in order while an upload runs through the proxy."""
    upload = subprocess.Popen(
        on.command(bench.lab, world.INSTANCE, [sys.executable, "-I", "-c", _UPLOAD], 2001),
        stdout=subprocess.PIPE,
        text=True,
    )
    time.sleep(0.5)
    for pid in bench.pids("agent"):
        kill(pid, signal.SIGTERM)
    until(lambda: not bench.pids("agent"), "the agent ends")
    whole = upload.communicate(timeout=40)[0].strip()
    said = f"{'upload whole' if whole == 'whole' else whole}, {_well(bench)}"
    bench.start_agent()
    return said


def second_agent(bench: Bench) -> str:
    """Start another agent on the same host."""
    rules = dumps.kernel(bench.lab)["ruleset"]
    done = bench.pointsman("up", "-c", str(bench.lab.node / "node.yaml"))
    refused = (
        "refused by lock" if done.returncode and "holds" in done.stderr + done.stdout else f"exit {done.returncode}"
    )
    same = "rules unchanged" if dumps.kernel(bench.lab)["ruleset"] == rules else "rules changed"
    return f"{refused}, {same}, ROUTE({bench.ask()})"


# One upload that takes four seconds, its answer at the end: a request that must survive the agent
_UPLOAD = """
import socket, time
s = socket.create_connection(("198.51.100.81", 80), 10)
s.sendall(b"POST /v1/up HTTP/1.1\\r\\nHost: api.pay.test\\r\\nContent-Length: 4000000\\r\\n\\r\\n")
for _ in range(40):
    s.sendall(b"x" * 100000); time.sleep(0.1)
s.settimeout(15)
print("whole" if b'"length": 4000000' in s.recv(65536) else "cut")
"""


def _gold(bench: Bench) -> str:
    return bench.ask(headers="x-tenant: gold\r\n")


def _kill(bench: Bench, program: str) -> None:
    for pid in bench.pids(program):
        kill(pid, signal.SIGKILL)
        until(lambda pid=pid: pid not in bench.pids(program), f"{program} ends")  # type: ignore[misc]


def _down(bench: Bench) -> None:
    bench.on("pointsman", "down", "-c", str(bench.lab.node / "node.yaml"))
    until(lambda: not bench.pids("agent"), "the agent ends", within=20)


def _well(bench: Bench) -> str:
    return f"ROUTE({bench.ask()}), {held(bench)}"


def _size(bench: Bench) -> tuple[int, int]:
    kernel = dumps.kernel(bench.lab)
    return len(kernel["ruleset"]), len(kernel["rules"]) + len(kernel["routes"])


def _all_up(bench: Bench) -> None:
    until(lambda: all(one["state"] == "up" for one in bench.status()["tunnels"]), "all tunnels are up", within=20)


def _whole(bench: Bench) -> dumps.Dump:
    """Return everything of ours, once all tunnels are up and settled. Settings belong to devices, which are new."""
    _all_up(bench)
    bench.until_routed()
    kernel = dumps.named(dumps.kernel(bench.lab))
    return {**{name: lines for name, lines in kernel.items() if name != "settings"}, **dumps.files(bench.lab)}


def _version(bench: Bench, before: str) -> str:
    now = bench.status()["policy"]["version"]
    return "same version" if now == before else "another version"


FAULTS = (
    boot_under_flood,
    agent_killed,
    proxy_killed,
    daemon_killed,
    agent_killed_while_starting,
    killed_while_going_down,
    up_and_down,
    broken_files,
    broken_policy,
    agent_ended,
    second_agent,
)
