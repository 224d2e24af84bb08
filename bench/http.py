"""Requests per second and latency through pointsman and its peers, measured in turn, round by round."""

import argparse
import statistics
from dataclasses import asdict, replace
from functools import partial

from bench import figures, load, peers, place, policies
from bench.load import Measured
from bench.peers import Peer
from bench.place import Place

FEW, SOME, MANY = 10, 1_000, 20_000
DIRECT, PLAIN, HAPROXY, ASKING = "no-interception", "envoy-plain", "haproxy", "envoy-ext-authz"
RECORDING = "envoy-recording"


def main() -> None:
    """Start all, measure all, end all."""
    options = argparse.ArgumentParser(prog="./dev bench http", description=__doc__)
    options.add_argument("--json", action="store_true", help="the last line is one JSON object")
    options.add_argument("--seconds", type=float, default=5.0, help="per round of one peer, in parts of one second")
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    names = (DIRECT, PLAIN, RECORDING, HAPROXY, *map(_ours, (FEW, SOME, MANY)), ASKING)
    addresses = [f"192.0.2.{101 + number}" for number in range(len(names))]
    begun = figures.machine()
    with place.place(addresses) as made:
        ready = _start(made, list(zip(names, addresses, strict=True)))
        peers.capture(made, ready)
        for peer in ready:
            place.wait(partial(place.answers, made, peer.address), f"{peer.name} answers", made, peer.name)
        rounds, processor = _measure(made, ready, given.seconds, given.rounds)
        memory = {peer.name: place.resident_mb(peer.pid) for peer in ready if peer.pid}
    _table(rounds, processor, memory)
    figures.tell(
        {
            "vs_envoy": _ratio(rounds, _ours(MANY), PLAIN),
            "flatness": _ratio(rounds, _ours(MANY), _ours(FEW)),
            "vs_ext_authz": _ratio(rounds, _ours(MANY), ASKING),
            "vs_envoy_recording": _ratio(rounds, _ours(MANY), RECORDING),
            "vs_haproxy": _ratio(rounds, _ours(MANY), HAPROXY),
            "processor_vs_envoy": figures.ratio(zip(processor[_ours(MANY)], processor[PLAIN], strict=True)),
            "processor_flatness": figures.ratio(zip(processor[_ours(MANY)], processor[_ours(FEW)], strict=True)),
            "peers": {
                name: {
                    "per_second": round(statistics.median(one.per_second for one in found)),
                    "p50_ms": statistics.median(one.p50 for one in found),
                    "p99_ms": statistics.median(one.p99 for one in found),
                    "processor_us": statistics.median(processor[name]) if name in processor else None,
                    "memory_mb": memory.get(name),
                    "failed": sum(one.failed for one in found),
                    "rounds": [asdict(one) for one in found],
                }
                for name, found in rounds.items()
            },
            "machine": {"before": begun, "after": figures.machine()},
        },
        given.json,
    )


def _ours(rules: int) -> str:
    return f"pointsman-{rules}"


def _start(made: Place, wanted: list[tuple[str, str]]) -> list[Peer]:
    ready = []
    for number, (name, address) in enumerate(wanted):
        peer = Peer(name, address, peers.BASE_PORT + number)
        if name == DIRECT:
            ready.append(replace(peer, port=0))
        elif name == PLAIN:
            ready.append(replace(peer, pid=peers.start_plain(made, peer)))
        elif name == RECORDING:
            ready.append(replace(peer, pid=peers.start_plain(made, peer, records=True)))
        elif name == HAPROXY:
            ready.append(replace(peer, pid=peers.start_haproxy(made, peer)))
        elif name == ASKING:
            asking = replace(peer, rules=MANY)
            ready.append(replace(asking, pid=peers.start_asking(made, asking)))
        else:
            base = 20000 + 1000 * number
            ours = replace(peer, rules=int(name.rpartition("-")[2]), base=base, port=base + 100)
            ready.append(replace(ours, pid=peers.start_pointsman(made, ours)))
    return ready


def _measure(
    made: Place, ready: list[Peer], seconds: float, rounds: int
) -> tuple[dict[str, list[Measured]], dict[str, list[float]]]:
    scripts = {
        peer.name: load.write_script(made, peer.name, policies.keys(peers.SHAPE, peer.rules or MANY)) for peer in ready
    }
    for peer in ready:
        load.load(made, scripts[peer.name], peer.address, 1)
    found: dict[str, list[Measured]] = {peer.name: [] for peer in ready}
    processor: dict[str, list[float]] = {peer.name: [] for peer in ready if peer.pid}
    for number in range(rounds):
        parts: dict[str, list[tuple[Measured, float]]] = {peer.name: [] for peer in ready}
        for part in range(max(1, round(seconds))):
            turn = (number + part) % len(ready)
            for peer in ready[turn:] + ready[:turn]:
                before = place.processor_seconds(peer.pid) if peer.pid else 0.0
                one = load.load(made, scripts[peer.name], peer.address, 1)
                used = place.processor_seconds(peer.pid) - before if peer.pid else 0.0
                parts[peer.name].append((one, used))
        for peer in ready:
            whole, used = _joined(parts[peer.name])
            found[peer.name].append(whole)
            if peer.pid:
                processor[peer.name].append(round(1e6 * used / whole.requests, 1))
            print(f"round {number + 1}: {peer.name:<18} {whole.per_second:>9.0f} requests/s", flush=True)
    return found, processor


def _joined(parts: list[tuple[Measured, float]]) -> tuple[Measured, float]:
    """Return what a round's parts come to. They are short, so that a busy second of the machine hits every peer."""
    each = [one for one, _ in parts]
    whole = Measured(
        sum(one.requests for one in each),
        statistics.mean(one.per_second for one in each),
        statistics.median(one.p50 for one in each),
        statistics.median(one.p99 for one in each),
        sum(one.failed for one in each),
    )
    return whole, sum(used for _, used in parts)


def _ratio(rounds: dict[str, list[Measured]], ours: str, peer: str) -> float:
    pairs = zip(rounds[ours], rounds[peer], strict=True)
    return figures.ratio((mine.per_second, other.per_second) for mine, other in pairs)


def _table(rounds: dict[str, list[Measured]], processor: dict[str, list[float]], memory: dict[str, int]) -> None:
    print(f"{'':<18} {'requests/s':>10} {'p50 ms':>8} {'p99 ms':>8} {'us/request':>10} {'MB':>5}  failed")
    for name, found in rounds.items():
        used = f"{statistics.median(processor[name]):>10.1f}" if name in processor else f"{'':>10}"
        print(
            f"{name:<18} {statistics.median(one.per_second for one in found):>10.0f} "
            f"{statistics.median(one.p50 for one in found):>8.2f} {statistics.median(one.p99 for one in found):>8.2f} "
            f"{used} {memory.get(name, 0):>5}  {sum(one.failed for one in found)}"
        )


if __name__ == "__main__":
    main()
