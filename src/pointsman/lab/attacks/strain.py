"""Load that one user makes, and what others have of it; limits while processes restart; what is written meanwhile."""

import os
import signal
import statistics
import sys
import time

from pointsman.lab import exec as on
from pointsman.lab import world
from pointsman.lab.attacks.bench import Bench
from pointsman.lab.attacks.trouble import API, told, traffic
from pointsman.lab.clients import connected
from pointsman.lab.wait import until
from pointsman.model.fault import Fault

MOST_OPEN = 8000

# Seconds in which a bucket that was full is emptied, and then seconds that are measured
_WARM, _MEASURED = 2.0, 4.0
_ENDLESS = 1 << 34
# As many transfers at once as are asked for, each of its own connection: megabits a second, all
# together, of what came in, or of what a device sent
_TRANSFERS = """
import encodings.idna, http.client, os, sys, threading, time
uid, many, way, tenant, device, size, warm, measured = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
headers, came = {"Host": "a.ok.test", "x-tenant": tenant}, [0] * many
os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
def fetch(number):
    line = http.client.HTTPConnection("198.51.100.80", 80, timeout=60)
    if way == "up": line.request("POST", "/up", iter(lambda: b"x" * 16384, b""), headers)
    line.request("GET", f"/big?bytes={size}", headers=headers)
    answer = line.getresponse(); assert answer.status == 200, (answer.status, answer.read(400))
    while data := answer.read1(65536): came[number] += len(data)
def sent(): return next(int(line.split()[9]) for line in open("/proc/net/dev") if f"{device}:" in line)
def moved(): return sent() if way == "up" else sum(came)
threads = [threading.Thread(target=fetch, args=(number,), daemon=True) for number in range(many)]
for one in threads: one.start()
time.sleep(float(warm)); before, begun = moved(), time.monotonic()
for one in threads: one.join(max(0, begun + float(measured) - time.monotonic()))
print((moved() - before) * 8 / (time.monotonic() - begun) / 1e6)
sys.stdout.flush(); os._exit(0)
"""


def slow_senders(bench: Bench) -> str:
    """Have 300 connections of which each sends one byte of its head a second."""
    alone = _pace(bench)
    with traffic(bench, "slow", 9) as counts:
        time.sleep(1)
        beside = _pace(bench)
    cut = "all cut" if counts["cut"] == counts["opened"] > 0 else f"{counts['cut']} of {counts['opened']} cut"
    return f"{cut} ({told(counts)}), {_judged(alone, beside)}"


def idle_connections(bench: Bench) -> str:
    """Have 9,000 connections of user 2002 that say nothing: they are bounded, end, and leave the way free."""
    with traffic(bench, "idle", 12, uid=2002) as counts:
        until(lambda: _open(bench) >= 1000, "they stand", within=10)
        time.sleep(2)
        most, meanwhile = _open(bench), bench.ask()
    bounded = "bounded" if most <= MOST_OPEN else f"{most} open"
    cut = "all cut" if counts["cut"] == counts["opened"] > 0 else f"{counts['cut']} of {counts['opened']} cut"
    return f"{bounded} ({most} open; others met {meanwhile}), {cut} ({told(counts)}), ROUTE({bench.ask()})"


def limits_over_restarts(bench: Bench) -> str:
    """Ask more often than a limit of 5 and one a second allows: on one connection, on many, over restarts."""
    begun = time.monotonic()
    granted = _granted(bench, 12)
    granted += sum(_granted(bench, 1) for _ in range(6))
    for pid in bench.pids("agent"):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not bench.pids("agent"), "the agent ends")
    bench.start_agent()
    granted += _granted(bench, 12)
    allowed = 5 + time.monotonic() - begun
    kept = "kept" if granted <= allowed else f"{granted} granted where {allowed:.0f} are allowed"
    for pid in bench.pids("envoy"):
        os.kill(pid, signal.SIGKILL)
    bench.until_routed()
    again = _granted(bench, 12)
    refill = "no more than a burst" if again <= 6 else f"{again} after a restart"
    return f"{kept} ({granted} of {allowed:.0f}), {refill} ({again})"


def bandwidth(bench: Bench) -> str:
    """Fetch and send through a profile of 10 Mbit/s, by one connection and by twenty; another profile goes on."""
    found = {
        name: _transfers(bench, many, way, "narrow")
        for name, many, way in (("one down", 1, "down"), ("twenty down", 20, "down"), ("twenty up", 20, "up"))
    }
    free = _transfers(bench, 4, "down", "free", size=4_000_000, warm=0)
    over = {name: rate for name, rate in found.items() if not 3 < rate < 11}
    rates = "; ".join(f"{name} {rate:.1f}" for name, rate in found.items())
    return f"{'held' if not over else 'NOT HELD'} ({rates}), {'other free' if free > 20 else 'other held'} ({free:.0f})"


def log_flood(bench: Bench) -> str:
    """Have as many requests denied as go through, and look at what is on disk and at the count."""
    folder = bench.lab.runtime / "proxy"
    before = _denied(bench)
    with traffic(bench, "denied", 8) as counts:
        pass
    until(lambda: _denied(bench) - before >= counts["403"], "all are counted", within=20)
    counted = _denied(bench) - before
    size = sum(path.stat().st_size for path in folder.glob("decisions.log*")) >> 20
    bounded = "bounded" if size <= 5 * 32 else "UNBOUNDED"
    exact = (
        "counted exactly"
        if 0 <= counted - counts["403"] <= counts["connections"]
        else f"{counted} counted of {counts['403']}"
    )
    return f"{exact} ({told(counts)}), {bounded} ({size} MB), ROUTE({bench.ask()})"


def _granted(bench: Bench, many: int) -> int:
    with connected(bench.lab, API, 80, uid=2001) as client:
        return sum(client.ask("/few/x", host="api.pay.test").status == 200 for _ in range(many))


def _transfers(bench: Bench, many: int, way: str, tenant: str, size: int = _ENDLESS, warm: float = _WARM) -> float:
    device = next(tunnel["device"] for tunnel in bench.status()["tunnels"] if tunnel["name"] == "direct")
    words = ["2002", str(many), way, tenant, device, str(size), str(warm), str(_MEASURED)]
    done = on.run(bench.lab, world.INSTANCE, [sys.executable, "-I", "-c", _TRANSFERS, *words], timeout=60)
    if done.stderr:
        raise Fault("lab-process", f"move bytes as tenant `{tenant}`", done.stderr.strip()[-300:])
    return float(done.stdout)


def _pace(bench: Bench) -> float:
    """Return how long the slowest but one of twenty requests took, in milliseconds."""
    times = []
    with connected(bench.lab, API, 80, uid=2001) as client:
        for _ in range(20):
            begun = time.monotonic()
            if client.ask("/v1/x", host="api.pay.test").status == 200:
                times.append(time.monotonic() - begun)
    return statistics.quantiles(times, n=20)[-1] * 1000


def _judged(alone: float, beside: float) -> str:
    # a few milliseconds are the machine's own
    words = "others go on" if beside < 3 * alone + 50 else "others are held up"
    return f"{words} ({alone:.0f} and {beside:.0f} ms)"


def _open(bench: Bench) -> int:
    return len(
        bench.on("ss", "-Htn", "state", "established", "sport", ">=", ":20000", "sport", "<", ":30000").splitlines()
    )


def _denied(bench: Bench) -> int:
    with bench.line() as line:
        text = line.get("/metrics").text
    return int(
        sum(float(row.split()[-1]) for row in text.splitlines() if "requests" in row and 'rule="no-admin"' in row)
    )


FAULTS = (slow_senders, idle_connections, limits_over_restarts, bandwidth, log_flood)
