"""Faults, one function each: what is broken, what was seen meanwhile, and that all is well again. In words."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import kill
from pathlib import Path
from typing import Any

import yaml

from pointsman.lab import exec as on
from pointsman.lab import world
from pointsman.lab.attacks import dumps, load, neighbour
from pointsman.lab.attacks.bench import Bench
from pointsman.lab.attacks.case import POLICY
from pointsman.lab.clients import connected
from pointsman.lab.wait import until

FAULTS: dict[str, Callable[[Bench], str]] = {}
API = "198.51.100.81"
REFUSALS = {"503", "CLOSED", "REFUSED", "SILENCE"}


def fault(run: Callable[[Bench], str]) -> Callable[[Bench], str]:
    """Register a fault under its name."""
    FAULTS[run.__name__] = run
    return run


# --- the ways that packets take -----------------------------------------------------------------------------------


@fault
def conntrack_flushed(bench: Bench) -> str:
    """Flush what the kernel knows of connections, ten times."""
    with traffic(bench, "flows", 3) as ended:
        for _ in range(10):
            bench.on(sys.executable, "-c", "from pyroute2 import NFCTSocket; NFCTSocket().flush()")
    return f"ROUTE({bench.ask()}) ({_words(ended)})"


@fault
def rogue_router(bench: Bench) -> str:
    """Let the instance take an address and a default route from somebody else."""
    bench.on("sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra=2")
    try:
        near(bench, "advertise")
        until(lambda: "2001:db8:bad:" in bench.on("ip", "-6", "address"), "the instance takes the address", within=5)
        before = bench.witness.leaked()
        said = [bench.send(name, 2001) for name in ("tcp6", "udp6", "tcp6_other_port")]
        held = "DROP" if bench.witness.leaked() == before else "LEAK"
        return f"{held} ({'; '.join(said)}), ROUTE({bench.ask(to='2001:db8:2::81')})"
    finally:
        bench.on("sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra=0")
        bench.on("ip", "-6", "route", "flush", "dev", "eth0", "proto", "ra")
        for line in bench.on("ip", "-6", "-o", "address", "show", "dev", "eth0").splitlines():
            if "2001:db8:bad:" in line:
                bench.on("ip", "-6", "address", "del", line.split()[3], "dev", "eth0")


@fault
def route_by_a_neighbour(bench: Bench) -> str:
    """Put a closer route to the origin into the main table (CVE-2024-3661)."""
    with changed(bench, f"route add {API}/32 via 192.0.2.23", f"route del {API}/32 via 192.0.2.23"):
        return _asked_apart(bench)


@fault
def half_the_world_by_a_neighbour(bench: Bench) -> str:
    """Do it with two halves of the address space, as DHCP option 121 can."""
    with (
        changed(bench, "route add 0.0.0.0/1 via 192.0.2.23", "route del 0.0.0.0/1 via 192.0.2.23"),
        changed(bench, "route add 128.0.0.0/1 via 192.0.2.23", "route del 128.0.0.0/1 via 192.0.2.23"),
    ):
        return _asked_apart(bench)


@fault
def origin_on_the_local_net(bench: Bench) -> str:
    """Give the card an address of the origin's network."""
    with changed(bench, "address add 198.51.100.9/24 dev eth0", "address del 198.51.100.9/24 dev eth0"):
        before = bench.witness.counts().sent(destination=API)
        said = _asked_apart(bench)
        frames = bench.witness.counts().sent(destination=API) - before
    return f"{said}, {'no frame' if frames == 0 else f'{frames} frames'} to it"


@fault
def link_deleted(bench: Bench) -> str:
    """Delete the tunnel's device."""
    return broken(bench, lambda: bench.on("ip", "link", "del", bench.device("wg-a")))


@fault
def link_down(bench: Bench) -> str:
    """Set the tunnel's device down."""
    return broken(bench, lambda: bench.on("ip", "link", "set", bench.device("wg-a"), "down"))


@fault
def addresses_deleted(bench: Bench) -> str:
    """Delete the addresses of the tunnel's device."""
    return broken(bench, lambda: bench.on("ip", "address", "flush", "dev", bench.device("wg-a")))


@fault
def routes_flushed(bench: Bench) -> str:
    """Flush the tunnel's routing table."""

    def flush() -> None:
        for words in _rules(bench):
            if words["table"] != "main":
                bench.on("ip", "route", "flush", "table", words["table"])

    return broken(bench, flush)


@fault
def rules_deleted(bench: Bench) -> str:
    """Delete the rules that lead marked packets to their tables."""

    def delete() -> None:
        for words in _rules(bench):
            bench.on("ip", "rule", "del", "pref", str(words["priority"]))

    return broken(bench, delete)


@fault
def reloads_under_flood(bench: Bench) -> str:
    """Put two policies in force by turns while traffic runs."""
    other = bench.lab.node / "other.yaml"
    document = yaml.safe_load(POLICY.read_text())
    document["rules"].insert(0, {"name": "other", "when": 'request.path == "/v1/nobody"', "deny": True})
    other.write_text(yaml.safe_dump(document, sort_keys=False))
    applied = 0
    with traffic(bench, "flow", 12) as flows, traffic(bench, "flood", 12) as flood:
        begun = time.monotonic()
        while time.monotonic() - begun < 10:
            for path in (other, bench.lab.node / "policy.yaml"):
                done = bench.pointsman("policy", "apply", str(path))
                if done.returncode:
                    return f"apply failed: {done.stderr.strip()[-200:]}"
                applied += 1
    bad = flows["lost"] + flows["refused"]
    lost = "no request lost" if bad * 1000 <= flows["answered"] and flows["answered"] else f"{bad} requests lost"
    held = "HELD" if bench.witness.control() == 0 else "OPEN"
    return f"{held} ({applied} reloads, {_words(flood)}), {lost} ({_words(flows)})"


@fault
def asked_for_the_inner_address(bench: Bench) -> str:
    """Ask for the tunnel's inner address on the local network, by ARP and with a segment (CVE-2019-14899)."""
    mac = json.loads(bench.on("ip", "-j", "link", "show", "eth0"))[0]["address"]
    inner = next(one["sources"][0] for one in bench.status()["tunnels"] if one["name"] == "wg-a")
    own = near(bench, "arp", "192.0.2.10", mac)
    others = [near(bench, "arp", inner, mac), near(bench, "syn", inner, mac)]
    first = "its own address is answered" if own == "answered" else "its own address is silent"
    return f"{first}, the inner one is {'not' if others == ['silent', 'silent'] else str(others)}"


@fault
def class_of_service(bench: Bench) -> str:
    """Ask for DSCP 46 and priority 6 on a connection of the profile with the class `bulk`."""
    code = (
        "import os,socket;os.setresuid(2002,2002,2002);s=socket.socket();s.setsockopt(0,1,0xb8);"
        "s.setsockopt(1,12,6);s.connect(('198.51.100.80',80));"
        "s.sendall(b'GET / HTTP/1.1\\r\\nHost: a.ok.test\\r\\n\\r\\n');print(s.recv(100)[:15])"
    )
    argv = [sys.executable, "-I", neighbour.__file__, "class", "198.51.100.80"]
    watching = subprocess.Popen(on.command(bench.lab, world.ROUTER, argv), stdout=subprocess.PIPE, text=True)
    until(lambda: bench.ask(uid=2002, host="a.ok.test", to="198.51.100.80") == "direct", "user 2002 gets through")
    bench.on(sys.executable, "-I", "-c", code)
    return f"DSCP {watching.communicate(timeout=20)[0].strip()}"


@fault
def entries_met_directly(bench: Bench) -> str:
    """Connect to the proxy's ports from a user, by loopback and by the card's address, and from the network."""
    listening = bench.on("ss", "-Hltn").splitlines()
    ports = sorted({int(line.split()[3].rpartition(":")[2]) for line in listening})
    request = b"GET /v1/x HTTP/1.1\r\nHost: api.pay.test\r\n\r\n"
    if not ports:
        return "nobody listens"
    served = []
    for port in ports:
        for address in ("127.0.0.1", "::1", "192.0.2.10"):
            talked = bench.talk(2001, address, port, "http1", [request], 1, within=2)
            if talked.received or talked.ended == "open":
                served.append(f"{address} {port}")
    outside = near(bench, "knock", "192.0.2.10", *map(str, ports))
    users = "refused to users" if not served else f"served: {served}"
    return f"{users} ({len(ports)} ports), {'refused to the network' if outside == 'none' else f'open outside: {outside}'}"


# --- lifecycle ----------------------------------------------------------------------------------------------------


@fault
def boot_under_flood(bench: Bench) -> str:
    """Take the agent down, close the host as early boot does, and start under a flood."""
    _down(bench)
    seen = "open host seen" if bench.witness.control() == 3 else "open host not seen"
    bench.on("pointsman", "close", "-c", str(bench.lab.node / "node.yaml"))
    silent = "closed host silent" if bench.witness.control() == 0 else "closed host seen"
    with traffic(bench, "flood", 8) as flood:
        bench.start_agent()
    return f"{seen}, {silent}, {_well(bench)} ({_words(flood)})"


@fault
def agent_killed(bench: Bench) -> str:
    """Kill the agent under load and leave it dead for a while."""
    with traffic(bench, "flows", 4) as flows:
        _kill(bench, "agent")
        time.sleep(1)
        dead = f"{_well(bench)} ({_held(bench)})".replace(" (HELD)", "")
    proxy = bench.pids("envoy")
    bench.start_agent()
    adopted = "adopted" if bench.pids("envoy") == proxy else "started anew"
    return f"{dead} ({_words(flows)}), {adopted}, ROUTE({bench.ask()})"


@fault
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
    return f"{'FC' if not left else str(left)}, {_held(bench)}, back each time ({slowest:.1f} s at most), {grown}"


@fault
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


@fault
def agent_killed_while_starting(bench: Bench) -> str:
    """Kill the agent at twelve moments of its start, on a host that is down, and compare with a plain start."""
    _down(bench)
    bench.start_agent()
    golden = {**_without_sysctl(bench), **dumps.files(bench.lab)}
    _down(bench)
    bench.on("pointsman", "close", "-c", str(bench.lab.node / "node.yaml"))
    dice = random.Random(11)  # noqa: S311 -- the same moments in every run
    held = True
    argv = [sys.executable, "-m", "pointsman", "up", "-c", str(bench.lab.node / "node.yaml")]
    for step in range(12):
        agent = on.start(bench.lab, world.INSTANCE, argv, "agent")
        time.sleep(0.3 + step * 0.25 + dice.random() * 0.2)
        agent.send_signal(signal.SIGKILL)
        agent.wait(10)
        held = held and bench.witness.control() == 0
    bench.start_agent()
    bench.until_routed()
    _all_up(bench)
    now = {**_without_sysctl(bench), **dumps.files(bench.lab)}
    differs = dumps.difference(golden, now)
    return f"{'HELD' if held else 'OPEN'}, ROUTE({bench.ask()}), {differs or 'as after a plain start'}"


@fault
def killed_while_going_down(bench: Bench) -> str:
    """Kill the agent while it goes down, then ask once more."""
    config = str(bench.lab.node / "node.yaml")
    for pause in (0.02, 0.2, 0.5):
        going = on.start(bench.lab, world.INSTANCE, ["pointsman", "down"], "down")
        time.sleep(0.4 + pause)  # the command itself needs its time to start
        for pid in bench.pids("agent"):
            kill(pid, signal.SIGKILL)
        going.wait(20)
        bench.on("pointsman", "down", "-c", config)
        differs = dumps.difference(bench.untouched, dumps.kernel(bench.lab))
        bench.start_agent()
        if differs:
            return differs
    return "as before the first start"


@fault
def up_and_down(bench: Bench) -> str:
    """Go down after traffic and compare with what was there before the first start."""
    bench.until_routed()
    _down(bench)
    differs = dumps.difference(bench.untouched, dumps.kernel(bench.lab))
    left = [program for program in ("envoy", "wireguard", "openvpn") if bench.pids(program)]
    bench.start_agent()
    return differs or (f"still running: {left}" if left else "as before the first start")


@fault
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


@fault
def broken_policy(bench: Bench) -> str:
    """Apply a policy that is none."""
    before = bench.status()["policy"]["version"]
    bad = bench.lab.node / "bad.yaml"
    bad.write_text(POLICY.read_text().replace("profile: a}", "profile: a").replace("profile: plain", "profile: nowhere"))
    done = bench.pointsman("policy", "apply", str(bad))
    return f"{'refused' if done.returncode else 'accepted'}, ROUTE({bench.ask()}), {_version(bench, before)}"


@fault
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


@fault
def second_agent(bench: Bench) -> str:
    """Start another agent on the same host."""
    rules = dumps.kernel(bench.lab)["ruleset"]
    done = bench.pointsman("up", "-c", str(bench.lab.node / "node.yaml"))
    refused = "refused by lock" if done.returncode and "holds" in done.stderr + done.stdout else f"exit {done.returncode}"
    same = "rules unchanged" if dumps.kernel(bench.lab)["ruleset"] == rules else "rules changed"
    return f"{refused}, {same}, ROUTE({bench.ask()})"


@fault
def narrowed_on_one_connection(bench: Bench) -> str:
    """Forbid on the second request of a connection what was allowed on the first."""
    document = yaml.safe_load(POLICY.read_text())
    document["rules"].insert(0, {"name": "narrower", "when": 'request.path == "/v1/x"', "deny": True})
    narrower = bench.lab.node / "narrower.yaml"
    narrower.write_text(yaml.safe_dump(document, sort_keys=False))
    with connected(bench.lab, API, 80, uid=2001) as client:
        first = client.ask("/v1/x", host="api.pay.test").status
        done = bench.pointsman("policy", "apply", str(narrower))
        second = client.ask("/v1/x", host="api.pay.test").status
        back = bench.pointsman("policy", "apply", str(bench.lab.node / "policy.yaml"))
        third = client.ask("/v1/x", host="api.pay.test").status
    return f"{first}, {second}, {third}" + ("" if done.returncode == back.returncode == 0 else f", {done.stderr}")


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


# --- the common parts ---------------------------------------------------------------------------------------------


def broken(bench: Bench, breaks: Callable[[], object]) -> str:
    """Break something of the way by wg-a; return what requests met until it was whole again, and how long it took."""
    bench.until_routed()
    breaks()
    begun = time.monotonic()
    seen: list[str] = []
    well = 0
    while time.monotonic() - begun < 25 and well < 4:
        said = bench.ask()
        seen.append(said)
        well = well + 1 if said == "wg-a" else 0
    others = set(seen) - REFUSALS - {"wg-a"}
    took = time.monotonic() - begun
    met = ", ".join(sorted(set(seen) - {"wg-a"})) or "nothing"
    safe = "FC" if not others else f"OTHER {others}"
    return f"{safe} ({met.replace(', ', ' ')}), " + (f"REPAIRED ({took:.1f} s)" if well else "NOT REPAIRED")


@contextmanager
def traffic(bench: Bench, kind: str, seconds: float) -> Iterator[dict[str, int]]:
    """Have traffic of user 2001 run for so long beside the block; its counts are there when the block is left."""
    argv = [sys.executable, "-I", load.__file__, kind, "2001", bench.witness.canary.decode(), str(seconds)]
    running = subprocess.Popen(on.command(bench.lab, world.INSTANCE, argv), stdout=subprocess.PIPE, text=True)
    counts: dict[str, int] = {}
    try:
        time.sleep(0.5)
        yield counts
        counts.update(json.loads(running.communicate(timeout=seconds + 30)[0]))
    finally:
        running.kill()
        running.wait()


@contextmanager
def changed(bench: Bench, there: str, back: str) -> Iterator[None]:
    """Have something of the instance's network changed by `ip` while the block runs."""
    bench.on("ip", *there.split())
    try:
        yield
    finally:
        bench.on("ip", *back.split())


def near(bench: Bench, *words: str) -> str:
    """Do something as a neighbour on the local network."""
    return bench.on(sys.executable, "-I", neighbour.__file__, *words, host=world.ROUTER).strip()


def _asked_apart(bench: Bench) -> str:
    """Make requests on new and on used connections for a while; they should all take the same way."""
    time.sleep(1.2)
    return f"ROUTE({' '.join(sorted({bench.ask() for _ in range(5)}))})"


def _rules(bench: Bench) -> list[dict[str, Any]]:
    found = json.loads(bench.on("ip", "-j", "rule"))
    return [words for words in found if "fwmark" in words]


def _gold(bench: Bench) -> str:
    request = b"GET /v1/x HTTP/1.1\r\nHost: api.pay.test\r\nx-tenant: gold\r\n\r\n"
    bench.reached()
    talked = bench.talk(2001, API, 80, "http1", [request], 1)
    from pointsman.lab.attacks import outcome, wire

    said = outcome.observed(wire.http1(talked.received, True), talked.ended, 1, bench.reached())
    return said.removeprefix("ROUTE(").removesuffix(")")


def _kill(bench: Bench, program: str) -> None:
    for pid in bench.pids(program):
        kill(pid, signal.SIGKILL)
        until(lambda pid=pid: pid not in bench.pids(program), f"{program} ends")  # type: ignore[misc]


def _down(bench: Bench) -> None:
    bench.on("pointsman", "down", "-c", str(bench.lab.node / "node.yaml"))
    until(lambda: not bench.pids("agent"), "the agent ends", within=20)


def _well(bench: Bench) -> str:
    return f"ROUTE({bench.ask()}), {_held(bench)}"


def _held(bench: Bench) -> str:
    return "HELD" if bench.witness.control() == 0 else "OPEN"


def _size(bench: Bench) -> tuple[int, int]:
    kernel = dumps.kernel(bench.lab)
    return len(kernel["ruleset"]), len(kernel["rules"]) + len(kernel["routes"])


def _all_up(bench: Bench) -> None:
    until(lambda: all(one["state"] == "up" for one in bench.status()["tunnels"]), "all tunnels are up", within=20)


def _without_sysctl(bench: Bench) -> dict[str, tuple[str, ...]]:
    _all_up(bench)
    return {name: lines for name, lines in dumps.kernel(bench.lab).items() if name != "settings"}


def _version(bench: Bench, before: str) -> str:
    now = bench.status()["policy"]["version"]
    return "same version" if now == before else "another version"


def _words(counts: dict[str, int]) -> str:
    return " ".join(f"{name} {count}" for name, count in counts.items())

