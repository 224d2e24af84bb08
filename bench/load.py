"""Load from wrk: requests that differ from one another, over connections that are kept."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from bench import policies
from bench.place import PORT, Place

CONNECTIONS = 32

_SCRIPT = """
local requests, place = {{}}, 0
init = function(args)
{requests}
end
request = function()
  place = place % #requests + 1
  return requests[place]
end
{waits}
done = function(summary, latency, _)
  local e = summary.errors
  io.write(string.format(
    '\\n{{"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "failed": %d}}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """What wrk saw. Latencies are in milliseconds."""

    requests: int
    per_second: float
    p50: float
    p99: float
    failed: int


def script(keys: Sequence[policies.Key], pause: int = 0) -> str:
    """Return the script that sends these requests in turn, on each connection with a pause (milliseconds) before."""
    lines = []
    for key in keys:
        headers = f'{{["Host"] = "{policies.HOST}", ["{policies.TEAM}"] = "{key.team}"}}'
        lines.append(f'  requests[#requests + 1] = wrk.format("GET", "{key.path}", {headers})')
    waits = f"delay = function() return {pause} end" if pause else ""
    return _SCRIPT.format(requests="\n".join(lines), waits=waits)


def write_script(made: Place, name: str, keys: Sequence[policies.Key]) -> str:
    """Write a script for this load, and return its path."""
    path = made.folder / f"{name}.lua"
    path.write_text(script(keys))
    return str(path)


def load(made: Place, script: str, address: str, seconds: float, connections: int = CONNECTIONS) -> Measured:
    """Send as many requests as are answered in this time."""
    duration = max(1, round(seconds))
    argv = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{duration}s", "-s", script, f"http://{address}:{PORT}/"]
    found = json.loads(made.run(argv, timeout=duration + 20).strip().splitlines()[-1])
    rate = found["requests"] / found["seconds"]
    return Measured(found["requests"], rate, found["p50_ms"], found["p99_ms"], found["failed"])
