"""How long does a changed policy take to have effect while requests go on, and does any of them fail?"""

import argparse
import http.client
import json
import os
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import yaml

from bench import figures, load, policies
from bench.place import inside, processor_seconds
from pointsman.cli.client import Client
from pointsman.lab import exec as on
from pointsman.lab import instance, life, names, world
from pointsman.lab.names import Lab
from pointsman.lab.wait import until

ADDRESS, PORT = "198.51.100.80", 8082
FLIPPED = "/flipped"
ALLOWED, DENIED = 200, 403
WITHIN = 30.0

_ORIGIN = """
global
  nbthread 1
defaults
  mode http
  timeout client 60s
  timeout connect 5s
  timeout server 60s
frontend origin
  bind {address}:{port}
  http-request return status 200 content-type text/plain string "ok"
"""


def main() -> None:
    """Change the policy again and again in a lab of its own, and watch one request that each change decides anew."""
    options = argparse.ArgumentParser(prog="./dev bench flip", description=__doc__)
    options.add_argument("--json", action="store_true", help="the last line is one JSON object")
    options.add_argument("--flips", type=int, default=100, help="changes at 1,000 rules")
    options.add_argument("--many-flips", type=int, default=10, help="changes at 20,000 rules")
    options.add_argument("--connections", type=int, default=8, help="kept by the load")
    options.add_argument("--pause", type=int, default=2, help="milliseconds between requests of one connection")
    given = options.parse_args()
    begun = figures.machine()
    found = {}
    for rules, flips in ((1_000, given.flips), (20_000, given.many_flips)):
        if flips:
            found[rules] = _measure(rules, flips, given.connections, given.pause)
    first = found[min(found)]
    figures.tell(
        {
            "failed": sum(one["failed"] for one in found.values()),
            "p99_s": first["p99_s"],
            "p50_s": first["p50_s"],
            "rules": found,
            "machine": {"before": begun, "after": figures.machine()},
        },
        given.json,
    )


def _measure(rules: int, flips: int, connections: int, pause: int) -> dict[str, Any]:
    texts = [
        policies.policy_text("exact", rules, denied=(path,), address=ADDRESS).decode() for path in ("/never", FLIPPED)
    ]
    with _lab(texts[0]) as (lab, agent), inside(lab.namespace(world.INSTANCE)), _Probe() as probe:
        client = Client(lab.runtime, timeout=120)
        with _load(lab, rules, connections, pause) as sent:
            time.sleep(1)
            used = processor_seconds(agent)
            effects, answers = [], []
            for number in range(flips):
                wanted = (DENIED, ALLOWED)[number % 2]
                effect, answer = _flip(client, probe, texts[(number + 1) % 2], lab, wanted)
                effects.append(effect)
                answers.append(answer)
                time.sleep(0.05)
            used = processor_seconds(agent) - used
    result = {
        "flips": flips,
        "failed": sent["failed"] + probe.failed,
        "requests": sent["requests"] + len(probe.seen),
        "requests_per_second": round(sent["requests"] / sent["seconds"]),
        "load_p99_ms": sent["p99_ms"],
        "p50_s": round(statistics.median(effects), 3),
        "p99_s": round(figures.percentile(effects, 0.99), 3),
        "max_s": round(max(effects), 3),
        "agent_processor_s": round(used / flips, 3),
        "answered_p50_s": round(statistics.median(answers), 3),
        "probes_p99_ms": round(1000 * figures.percentile([one.took for one in probe.seen], 0.99), 2),
        "effects": [round(effect, 3) for effect in effects],
    }
    print(
        f"{rules} rules: {flips} changes, {result['failed']} of {result['requests']} requests failed; effect after "
        f"{result['p50_s']} s (median), {result['p99_s']} s (p99); {result['requests_per_second']} requests/s beside",
        flush=True,
    )
    return result


def _flip(client: Client, probe: "_Probe", text: str, lab: Lab, wanted: int) -> tuple[float, float]:
    """Apply a policy; return the seconds until a probe sees it, and until the agent says that it is in force."""
    begun = time.monotonic()
    client.post("/v1/policy", {"text": text, "name": "flip.yaml", "folder": str(lab.node)})
    answered = time.monotonic()
    until(lambda: probe.turned(wanted, begun) is not None, f"probes see {wanted}", within=WITHIN)
    return (probe.turned(wanted, begun) or answered) - begun, answered - begun


@contextmanager
def _lab(text: str) -> Iterator[tuple[Lab, int]]:
    """Have a lab with an agent on this policy, and an origin that costs little."""
    run = os.environ.get("POINTSMAN_RUN") or f"r{os.getpid()}"
    lab = names.lab(f"{run}-flip")
    life.up(lab)
    try:
        (lab.node / "policy.yaml").write_text(text)
        node = yaml.safe_load((lab.node / "node.yaml").read_text())
        node["capture"]["http"].append(PORT)
        (lab.node / "node.yaml").write_text(yaml.safe_dump(node))
        config = lab.home(world.ORIGIN) / "fast.cfg"
        config.write_text(_ORIGIN.format(address=ADDRESS, port=PORT))
        on.start(lab, world.ORIGIN, ["haproxy", "-f", str(config)], "fast")
        yield lab, instance.start_agent(lab).pid
    finally:
        life.down(lab)


@contextmanager
def _load(lab: Lab, rules: int, connections: int, pause: int) -> Iterator[dict[str, float]]:
    """Send requests that are always allowed while the block runs; then the dictionary says what became of them."""
    script = lab.home(world.INSTANCE) / "load.lua"
    script.write_text(load.script(policies.keys("exact", rules), pause))
    script.chmod(0o644)
    found: dict[str, float] = {}
    argv = ["wrk", "-t", "1", "-c", str(connections), "-d", "3600s", "-s", str(script), f"http://{ADDRESS}:{PORT}/"]
    process = subprocess.Popen(
        on.command(lab, world.INSTANCE, argv, uid=1000), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield found
    finally:
        process.send_signal(signal.SIGINT)
        written, _ = process.communicate(timeout=30)
    found.update(json.loads(written.strip().splitlines()[-1]))


@dataclass(frozen=True, slots=True)
class _Seen:
    at: float
    status: int
    took: float


@dataclass
class _Probe:
    """One connection that asks again and again for what every change of policy decides anew."""

    seen: list[_Seen] = field(default_factory=list)
    failed: int = 0

    def __enter__(self) -> "_Probe":
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def turned(self, status: int, since: float) -> float | None:
        """Return when the answers turned to this status and stayed; None where they have not yet."""
        later = [one for one in self.seen[-20_000:] if one.at >= since]
        if not later or later[-1].status != status:
            return None
        return next(one.at for one in later if one.status == status)

    def _run(self) -> None:
        connection = http.client.HTTPConnection(ADDRESS, PORT, timeout=10)
        while not self._ended.wait(0.002):
            begun = time.monotonic()
            try:
                connection.request("GET", FLIPPED, headers={"Host": policies.HOST, policies.TEAM: "team-0"})
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                self.failed += 1
                connection.close()
                continue
            ended = time.monotonic()
            self.failed += answer.status not in (ALLOWED, DENIED)
            self.seen.append(_Seen(ended, answer.status, ended - begun))


if __name__ == "__main__":
    main()
