"""Attacks from and on the far end: a gateway that is somebody else, and callers of a gateway who are nobody."""

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from pointsman.lab import exec as on
from pointsman.lab import world
from pointsman.lab.attacks import impostor, knocker
from pointsman.lab.attacks.bench import Bench
from pointsman.lab.keys import write_private
from pointsman.system.certificates import authority, issue

GATE, PORT = "gw-b", "7443"
ADDRESS = "192.0.2.22"


def answered(bench: Bench, told: dict[str, Any]) -> str:
    """Have the agent's edge ask a gateway in whose place somebody answers what is told."""
    for pid in _gateways(bench, GATE):
        bench.on("kill", "-KILL", str(pid), host=GATE)
    keys = bench.lab.keys / told.get("certificate", GATE)
    if told.get("certificate") == "stranger" and not keys.exists():
        _stranger(keys)
    argv = [sys.executable, "-I", impostor.__file__, ADDRESS, PORT]
    argv += [str(keys / "gateway.crt"), str(keys / "gateway.key"), str(bench.lab.node / "gateway-ca.crt")]
    with subprocess.Popen(
        on.command(bench.lab, GATE, argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as false:
        if false.stdin is None or false.stdout is None:
            raise ValueError("the impostor has no pipes")
        false.stdin.write(json.dumps(told) + "\n")
        false.stdin.flush()
        false.stdout.readline()
        try:
            return _asked(bench, ADDRESS, str(told.get("kind", "wireguard")), str(told.get("ask", "make")))
        finally:
            false.kill()


def callers_without_a_name(bench: Bench) -> str:
    """Ask a gateway without a certificate, with one of another authority, with one that names no node."""
    folder = bench.lab.keys / "callers"
    if not folder.exists():
        folder.mkdir(mode=0o700)
        other = authority("others", 1)
        named = issue(other, "x", server=False, days=1, alternatives=[f"urn:pointsman:node:{world.NODE_NAME}"])
        write_private(folder / "stranger.crt", named.certificate)
        write_private(folder / "stranger.key", named.key)
    own = bench.lab.node / "node"
    said = {
        "own": _curl(bench, own, "/v1/status"),
        "none": _curl(bench, None, "/v1/status"),
        "stranger": _curl(bench, folder / "stranger", "/v1/status"),
        "another's file": _curl(bench, bench.lab.keys / "gw-a" / "gateway", "/v1/status"),
    }
    return ", ".join(f"{who} {status}" for who, status in said.items())


def half_open(bench: Bench) -> str:
    """Open ten thousand connections to a gateway's API and say nothing; a node must be answered meanwhile."""
    return _beside(bench, ["idle", "192.0.2.21", PORT, "10000"])


def endless_body(bench: Bench) -> str:
    """Send a body of a gigabyte as a node; the gateway must not keep it, and must answer another meanwhile."""
    own = bench.lab.node / "node"
    return _beside(
        bench, ["body", "192.0.2.21", PORT, f"{own}.crt", f"{own}.key", str(bench.lab.node / "gateway-ca.crt")]
    )


def brief(bench: Bench) -> str:
    """Open four thousand connections to a gateway's API, one after the other, and end each after a byte."""
    return _beside(bench, ["brief", "192.0.2.21", PORT, "4000"])


def _beside(bench: Bench, words: list[str]) -> str:
    """Have a neighbour do something to gateway gw-a, and ask it for the node's tunnels beside it."""
    before = _grown(bench)
    argv = on.command(bench.lab, world.ROUTER, [sys.executable, "-I", knocker.__file__, *words])
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as knocks:
        if knocks.stdout is None:
            raise ValueError("the neighbour has no pipes")
        stands = knocks.stdout.readline().strip()
        said = [_asked(bench, "192.0.2.21", "wireguard", "tunnels").split(",")[0] for _ in range(3)]
        told, _ = knocks.communicate("", timeout=60)
    grown = _grown(bench) - before
    size = "no growth" if grown < 64 else f"GREW by {grown} MB"
    return f"{' '.join(sorted(set(said)))} ({stands}; {told.strip()}), {size} ({grown} MB)"


def _asked(bench: Bench, address: str, kind: str, what: str) -> str:
    argv = [sys.executable, "-m", "pointsman.lab.attacks.asker", str(bench.lab.node), address, kind, what]
    done = on.run(bench.lab, world.INSTANCE, argv, timeout=30)
    verdict, pace, size, words = (done.stdout.strip() or f"{done.stderr.strip()[-300:]}, , , ").split(", ", 3)
    bad = [part for part in (pace, size) if part.startswith(("GREW", "SLOW"))]
    return ", ".join([f"{verdict} ({words[:160]}; {pace}; {size})", *bad])


def _curl(bench: Bench, proof: Path | None, path: str) -> str:
    """Ask gateway gw-a as a neighbour; return the status, or `refused`."""
    files = [] if proof is None else ["--cert", f"{proof}.crt", "--key", f"{proof}.key"]
    argv = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "5", *files]
    argv += ["--cacert", str(bench.lab.node / "gateway-ca.crt"), f"https://192.0.2.21:{PORT}{path}"]
    said = on.run(bench.lab, world.ROUTER, argv).stdout.strip()
    return "refused" if said in {"000", ""} else said


def _gateways(bench: Bench, host: str) -> list[int]:
    found = []
    for pid in on.processes(bench.lab, host):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"gateway" in words and b"pointsman" in words:
            found.append(pid)
    return found


def _grown(bench: Bench) -> int:
    """Return the memory of gateway gw-a, in MB. A child that is about to become `nft` looks like it, and shares it."""
    pages = (int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in _gateways(bench, "gw-a"))
    return max(pages) * resource.getpagesize() // (1 << 20)


def _stranger(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    made = issue(authority("others", 1), "x", server=True, days=1, alternatives=[ADDRESS])
    write_private(folder / "gateway.crt", made.certificate)
    write_private(folder / "gateway.key", made.key)


FAULTS = (callers_without_a_name, half_open, brief, endless_body)
