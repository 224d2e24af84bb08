"""Faults of tunnels and gateways: they reboot, swallow, change keys, push routes, and send inner packets."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

from pointsman.lab import exec as on
from pointsman.lab import gateway, instance, world
from pointsman.lab.attacks import inner, outcome
from pointsman.lab.attacks.bench import Bench
from pointsman.lab.attacks.holders import known
from pointsman.lab.attacks.trouble import API, broken, held, state, swallowing, told, traffic
from pointsman.lab.clients import connected, token
from pointsman.lab.wait import until

GATEWAYS = {one.host: one for one in world.GATEWAYS}


def gateway_reboots(bench: Bench) -> str:
    """End everything on a gateway and start it again."""

    def reboot() -> None:
        on.end_processes(bench.lab, "gw-a")
        process = gateway.start_gateway(bench.lab, GATEWAYS["gw-a"])
        gateway.await_gateway(bench.lab, GATEWAYS["gw-a"], process)

    return broken(bench, reboot)


def gateway_swallows(bench: Bench) -> str:
    """Let a gateway take in nothing for a while."""
    bench.until_routed()
    with swallowing(bench, "gw-a"):
        begun = time.monotonic()
        until(lambda: state(bench, "wg-a") == "failed", "the dead path is known", within=25)
        took, met = time.monotonic() - begun, bench.ask()
        other = bench.ask(headers="x-tenant: gold\r\n")
    bench.until_routed(within=30)
    return f"FAILED ({took:.1f} s), {met}, ROUTE({other}), ROUTE({bench.ask()})"


def openvpn_swallows(bench: Bench) -> str:
    """Stop the OpenVPN server of a gateway: its clients stay connected to nobody."""
    servers = [pid for pid in on.processes(bench.lab, "gw-c") if _name(pid) == "openvpn"]
    ops = f"x-identity-token: {token(bench.lab, role='ops')}\r\n"
    until(lambda: bench.ask(headers=ops) == "ovpn-c", "requests leave by ovpn-c", within=20)
    for pid in servers:
        os.kill(pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        until(lambda: state(bench, "ovpn-c") == "failed", "the dead path is known", within=10)
        took, met = time.monotonic() - begun, bench.ask(headers=ops)
    finally:
        for pid in servers:
            os.kill(pid, signal.SIGCONT)
    until(lambda: bench.ask(headers=ops) == "ovpn-c", "requests leave by ovpn-c", within=30)
    return f"{len(servers)} server, FAILED ({took:.1f} s), {met}, ROUTE({bench.ask(headers=ops)})"


def keys_rotated(bench: Bench) -> str:
    """Replace the keys of a holder's tunnel four times while he asks."""
    known(bench, "ada")
    statuses: Counter[int] = Counter()
    names = [bench.leases()["ada"]]
    with ThreadPoolExecutor(1) as beside, connected(bench.lab, API, 80, uid=2001) as client:

        def rotate() -> None:
            for _ in range(4):
                bench.post("/v1/leases/rotate", {"tunnel": names[-1]}).raise_for_status()
                names.append(bench.leases()["ada"])

        rotating = beside.submit(rotate)
        while not rotating.done():
            statuses[client.ask("/own/x", host="api.pay.test", headers=[("x-tenant", "ada")]).status] += 1
    rotating.result()
    lost = "no request lost" if set(statuses) == {200} else f"statuses {dict(statuses)}"
    renamed = f"{len(set(names))} keys" if len(set(names)) == len(names) else f"used again: {names}"
    return f"{lost} ({statuses[200]} requests), {renamed}, {held(bench)}"


def packets_from_a_gateway(bench: Bench) -> str:
    """Send from a gateway into the tunnel what a host's services and neighbours would take: none of it may arrive."""
    device = bench.device("wg-a")
    argv = on.command(bench.lab, world.INSTANCE, [sys.executable, "-I", inner.__file__, "take", device])
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as taking:
        if taking.stdout is None:
            raise ValueError("the listener has no pipes")
        taking.stdout.readline()
        target = next(one["sources"][0] for one in bench.status()["tunnels"] if one["name"] == "wg-a")
        bench.on(sys.executable, "-I", inner.__file__, "send", "wg0", target, host="gw-a")
        found = json.loads(taking.communicate("end\n", timeout=20)[0])
    seen = "all seen on the device" if found["seen"] >= inner.SENT else f"{found['seen']} seen on the device"
    return f"{seen}, {found['taken']} taken, {found['answered']} answered ({found})"


def pushes(bench: Bench) -> str:
    """Compare what an OpenVPN gateway is told to push with what became of it."""
    site = (bench.lab.home("gw-c") / "gateway.yaml").read_text()
    pushed = "pushed" if "redirectGateway: true" in site else "nothing pushed"
    routes = [line for line in bench.on("ip", "route").splitlines() if not re.search(r"\beth0\b", line)]
    routes += [line for line in bench.on("ip", "-6", "route").splitlines() if "default" in line and "eth0" not in line]
    return f"{pushed}, {'main table unchanged' if not routes else str(routes)}, ROUTE({bench.ask()})"


def openvpn_tells_nothing(bench: Bench) -> str:
    """Look for keys in the command lines and environments of the tunnels' daemons, and for their TCP ports."""
    pids = bench.pids("openvpn") + bench.pids("wireguard")
    texts = [Path(f"/proc/{pid}/{part}").read_bytes() for pid in pids for part in ("cmdline", "environ")]
    secret = [text for text in texts if re.search(rb"PRIVATE KEY|[A-Za-z0-9+/]{43}=|auth-user-pass ", text)]
    listening = [line for line in bench.on("ss", "-Hltnp").splitlines() if "openvpn" in line or "wireguard" in line]
    return f"{'no secret' if not secret else 'SECRET'} ({len(pids)} daemons), {len(listening)} ports"


def writes_while_a_path_dies(bench: Bench) -> str:
    """Write through a profile that may go on by the next tunnel, and let its first tunnel die: no write comes twice."""
    until(lambda: bench.ask(path="/vault/x") == "wg-a", "the profile is on its first tunnel", within=40)
    bench.reached()
    with traffic(bench, "posts", 5) as counts:
        time.sleep(1)
        with swallowing(bench, "gw-a"):
            until(lambda: bench.ask(path="/vault/x") == "wg-b", "the profile has moved", within=10)
    posts = Counter(str(one["path"]) for one in instance.reached(bench.lab) if one.get("method") == "POST")
    twice = sum(times > 1 for path, times in posts.items() if path.startswith("/vault/"))
    came = "writes came" if counts["200"] > 20 else f"{counts['200']} writes came"
    return f"{came} ({told(counts)}; {len(posts)} at the origin), {twice} twice"


def flapping(bench: Bench) -> str:
    """Let the first of two tunnels go and come every second: the profile moves once, and never into the clear."""
    until(lambda: bench.ask(path="/vault/x") == "wg-a", "the profile is on its first tunnel", within=40)
    ways = ["wg-a"]
    ends = time.monotonic() + 12
    while time.monotonic() < ends:
        with swallowing(bench, "gw-a"):
            rest = time.monotonic() + 1.5
            while time.monotonic() < rest:
                ways.append(bench.ask(path="/vault/x"))
        rest = time.monotonic() + 1.0
        while time.monotonic() < rest:
            ways.append(bench.ask(path="/vault/x"))
    routed = [way for way in ways if way in outcome.TUNNELS]
    switches = sum(one != other for one, other in pairwise(routed))
    others = set(ways) - {"wg-a", "wg-b", "503", "SILENCE"}
    moved = "moved once" if switches == 1 else f"moved {switches} times"
    return f"{moved} ({len(ways)} requests), {'never elsewhere' if not others else str(others)}"


def sizes(bench: Bench) -> str:
    """Send and fetch bodies of 400 kB through each tunnel."""
    ways = {"wg-a": [], "wg-b": [("x-tenant", "gold")], "ovpn-c": [("x-identity-token", token(bench.lab, role="ops"))]}
    said = []
    for name, headers in ways.items():
        with connected(bench.lab, API, 80, uid=2001) as client:
            down = client.ask("/big?bytes=400000", host="api.pay.test", headers=headers)
            up = client.ask("/v1/up", host="api.pay.test", headers=headers, method="POST", body="x" * 400_000)
        whole = (down.status, len(down.body), up.status) == (200, 400_000, 200)
        said.append(f"{name} whole" if whole else f"{name} {down.status} {len(down.body)} {up.status}")
    return ", ".join(said)


def two_profiles_at_once(bench: Bench) -> str:
    """Ask a thousand times over twenty connections, as two tenants by turns; look at the origin who came which way."""
    bench.reached()
    with traffic(bench, "pairs", 20) as counts:
        pass
    bench.settle()
    pairs = [one for one in bench.reached() if str(one["path"]).startswith("/v1/pair/")]
    gold = {one["path"] for one in pairs if int(str(one["path"]).rpartition("/")[2]) % 2}
    wrong = [one for one in pairs if outcome.tunnel_of(one["source"]) != ("wg-b" if one["path"] in gold else "wg-a")]
    ports: dict[tuple[str, str], set[bool]] = {}
    for one in pairs:
        ports.setdefault((one["source"], one["source_port"]), set()).add(one["path"] in gold)
    shared = sum(len(kinds) > 1 for kinds in ports.values())
    return f"{counts['200']} answered ({told(counts)}), {len(wrong)} by another way, {shared} connections shared"


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:  # it ended meanwhile
        return ""


FAULTS = (
    gateway_reboots,
    gateway_swallows,
    openvpn_swallows,
    keys_rotated,
    packets_from_a_gateway,
    pushes,
    openvpn_tells_nothing,
    writes_while_a_path_dies,
    flapping,
    sizes,
    two_profiles_at_once,
)
