"""How long does a decision take as the rules become many, and what does it cost to compile them?"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

from bench import figures, policies
from pointsman.cli.main import calm
from pointsman.dataplane import entries
from pointsman.dataplane.envoy import Settings
from pointsman.dataplane.resources import compile_envoy
from pointsman.model.context import Context, Request
from pointsman.model.entry import Mode
from pointsman.model.tunnel import Lane
from pointsman.policy.context import read
from pointsman.policy.cost import cost
from pointsman.policy.decide import decide
from pointsman.policy.diagram import Compiled, compile_policy
from pointsman.policy.load import load_policy

SIZES = (10, 100, 1_000, 10_000, 100_000)
Figures = dict[str, Any]

LONGEST_LIST = 1_000
LANE = Lane(policies.PROFILE, "direct", 2 << 20, "eth0", ("192.0.2.10",))
COMPILED = 20_000
COMPILED_SHAPES = ("exact", "interleaved", "regex-heavy")


def main() -> None:
    """Measure each size of each shape, then compilation in processes of their own."""
    options = argparse.ArgumentParser(prog="./dev bench decide", description=__doc__)
    options.add_argument("--json", action="store_true", help="the last line is one JSON object")
    options.add_argument("--seconds", type=float, default=1.0, help="per round of one measurement")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--compile", nargs=2, metavar=("SHAPE", "RULES"), help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.compile:
        print(json.dumps(compiled(given.compile[0], int(given.compile[1]))))
        return
    begun = figures.machine()
    found = {shape: _shape(shape, given.seconds, given.rounds) for shape in policies.SHAPES}
    costs = {shape: _apart(shape, COMPILED) for shape in COMPILED_SHAPES}
    rates = {shape: [size["per_second"] for size in sizes.values()] for shape, sizes in found.items()}
    figures.tell(
        {
            "flatness": _flatness(found["exact"]),
            "compile_s": costs["exact"]["seconds"],
            "compile_processor_s": costs["exact"]["processor_s"],
            "compile_mb": costs["exact"]["megabytes"],
            "flatness_by_shape": {shape: _flatness(sizes) for shape, sizes in found.items()},
            "per_second": rates,
            "decide": found,
            "compile": costs,
            "machine": {"before": begun, "after": figures.machine()},
        },
        given.json,
    )


def _shape(shape: str, seconds: float, rounds: int) -> dict[int, Figures]:
    """Measure all sizes of a shape in turn, round by round, so that a busy moment falls on all of them."""
    sizes = [size for size in SIZES if shape != "regex-only" or size <= LONGEST_LIST]
    built = {size: _built(shape, size) for size in sizes}
    # as many requests at every size, so that the processor's caches hold as much or as little of them
    requests = {size: [policies.request(key) for key in _thousand(policies.keys(shape, size))] for size in sizes}
    contexts = {size: [read(request, built[size].policy) for request in requests[size]] for size in sizes}
    rates: dict[int, list[float]] = {size: [] for size in sizes}
    whole: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(rounds):
        for size in sizes:
            rates[size].append(_rate(partial(decide, built[size]), contexts[size], seconds))
            whole[size].append(_rate(partial(_read_and_decide, built[size]), requests[size], seconds))
    found = {}
    for size in sizes:
        shared = cost(built[size].root)
        found[size] = {
            "per_second": round(statistics.median(rates[size])),
            "microseconds": round(1e6 / statistics.median(rates[size]), 1),
            "with_reading_per_second": round(statistics.median(whole[size])),
            "rounds": [round(rate) for rate in rates[size]],
            "leaves": shared.leaves,
            "longest_list": shared.longest,
        }
        print(
            f"decide {shape:<12} {size:>7} rules: {found[size]['per_second']:>8} per second "
            f"({found[size]['microseconds']} us), rounds {figures.spread(rates[size])}",
            flush=True,
        )
    return found


def _built(shape: str, size: int) -> Compiled:
    policy = load_policy(policies.policy_text(shape, size), f"{shape}-{size}.yaml", policies.no_files)
    return compile_policy(policy)


def _read_and_decide(of: Compiled, request: Request) -> None:
    context = read(request, of.policy)
    if isinstance(context, Context):
        decide(of, context)


def _thousand(keys: Sequence[policies.Key]) -> list[policies.Key]:
    """Return a thousand keys; like those of real requests, their texts are not the very ones of the policy."""
    some = (keys[number % len(keys)] for number in range(1000))
    return [policies.Key(key.team.encode().decode(), key.path.encode().decode()) for key in some]


def _rate(ask: Callable[[Any], object], asked: Sequence[Any], seconds: float) -> float:
    """Return how many are answered per second of this thread's own processor time."""
    count, begun, parts = 0, time.thread_time(), cycle([asked[at : at + 50] for at in range(0, len(asked), 50)])
    while (used := time.thread_time() - begun) < seconds:
        for one in next(parts):
            ask(one)
        count += 50
    return count / used


def _flatness(sizes: dict[int, Figures]) -> float:
    """Return the rate at the most rules divided by the rate at the fewest, by rounds."""
    few, many = sizes[min(sizes)]["rounds"], sizes[max(sizes)]["rounds"]
    return figures.ratio(zip(many, few, strict=True))


def _apart(shape: str, rules: int) -> Figures:
    """Compile in a fresh process three times; return the median of the times and the highest memory."""
    runs = []
    for _ in range(3):
        argv = [sys.executable, "-m", "bench.decide", "--compile", shape, str(rules)]
        runs.append(json.loads(subprocess.run(argv, capture_output=True, check=True, text=True, timeout=300).stdout))
    found: Figures = sorted(runs, key=lambda run: run["seconds"])[1]
    found["megabytes"] = max(run["megabytes"] for run in runs)
    found["runs"] = [run["seconds"] for run in runs]
    print(
        f"compile {shape:<12} {rules} rules: {found['seconds']} s, {found['processor_s']} s of the processor "
        f"(load {found['load']}, diagram {found['diagram']}, envoy {found['envoy']}), {found['megabytes']} MB at most, "
        f"{found['routes_mb']} MB of routes",
        flush=True,
    )
    return found


def compiled(shape: str, rules: int) -> Figures:
    """Compile a policy from its text to Envoy's files, as the command does it, and say what each part took."""
    calm()
    text = policies.policy_text(shape, rules)
    baseline, used = _peak(), time.process_time()
    begun = time.perf_counter()
    policy = load_policy(text, "policy.yaml", policies.no_files)
    loaded = time.perf_counter()
    diagram = compile_policy(policy)
    built = time.perf_counter()
    ports = entries.plan((), [LANE.cluster], [Mode.HTTP])
    files = compile_envoy(diagram, {LANE.profile: LANE}, [LANE], ports, Settings("/run/x", "/run/y", "/run/y/log"))
    ended = time.perf_counter()
    return {
        "seconds": round(ended - begun, 3),
        "load": round(loaded - begun, 3),
        "diagram": round(built - loaded, 3),
        "envoy": round(ended - built, 3),
        "processor_s": round(time.process_time() - used, 3),
        "megabytes": round(_peak()),
        "megabytes_before": round(baseline),
        "routes_mb": round(len(files.routes.text) / 1e6, 1),
        "leaves": cost(diagram.root).leaves,
    }


def _peak() -> float:
    """Return the most memory that this process has had, in MB (resident). `getrusage` would count its parent's too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    main()
