"""What the agent tells about itself: one status for people and programs, and counters for Prometheus."""

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pointsman.model.policy import Policy
from pointsman.model.tunnel import Lane, State, Tunnel
from pointsman.node.config import Node
from pointsman.node.memory import Memory
from pointsman.node.plan import Plan
from pointsman.node.records import TROUBLES, Tally
from pointsman.tunnels.health import Pulse
from pointsman.tunnels.select import Selection

Counters = Mapping[str, tuple[int, int]]


def status(
    node: Node,
    policy: Policy,
    plan: Plan | None,
    stuck: str,
    tunnels: tuple[Tunnel, ...],
    handshakes: Mapping[str, float | None],
    pulses: Mapping[str, Pulse],
    memory: Memory,
    tally: Tally,
    counters: Counters,
    proxy: int | None,
    warnings: Iterable[str],
    now: float,
) -> dict[str, Any]:
    """Return what is enforced now. Times are in seconds, `now` by the boot-time clock.

    `stuck` says why the last turn failed; it is empty otherwise.
    """
    holders = {lease.tunnel: lease.profile for lease in plan.memory.leases} if plan else {}
    refused = sum(count for (_, profile, _, code), count in tally.requests.items() if not profile)
    return {
        "node": node.name,
        "state": _state(plan, stuck, memory, now),
        "policy": {"name": policy.name, "version": policy.version, "rules": len(policy.rules)},
        "proxy": {"pid": proxy},
        "confirm_within": None if memory.confirm_by is None else round(memory.confirm_by - now, 1),
        "break_glass": None
        if memory.glass_until is None or memory.glass_until <= now
        else {"seconds_left": round(memory.glass_until - now, 1), "reason": memory.glass_reason},
        "profiles": [_profile(policy, plan, profile.name) for profile in policy.profiles],
        "tunnels": [
            {
                "name": tunnel.name,
                "kind": tunnel.kind,
                "level": tunnel.level.name.lower(),
                "labels": dict(tunnel.labels),
                "state": tunnel.state,
                "device": tunnel.device,
                "sources": list(tunnel.sources),
                "endpoints": [f"{e.protocol} {e.address} {e.port}" for e in tunnel.endpoints],
                "mtu": tunnel.mtu,
                "table": tunnel.table,
                "handshake_age": handshakes[tunnel.name],
                "probe": _probe(tunnel, pulses),
                "troubles": {kind: tally.troubles[tunnel.name, kind] for kind in TROUBLES.values()},
                "holder": holders.get(tunnel.name, ""),
                "why": tunnel.why,
            }
            for tunnel in tunnels
        ],
        "counts": {
            "requests": sum(tally.requests.values()),
            "refused": refused,
            "misrouted": tally.misrouted.total(),
            "ended": tally.ended,
            "unreadable": tally.unreadable,
        },
        "guard": {name: {"packets": packets, "bytes": octets} for name, (packets, octets) in sorted(counters.items())},
        "warnings": list(warnings),
    }


def objections(selection: Selection) -> list[str]:
    """Return every objection of a selection, tunnel first."""
    return [f"{rejected.tunnel}: {objection}" for rejected in selection.rejected for objection in rejected.objections]


def metrics(
    policy: Policy,
    tunnels: tuple[Tunnel, ...],
    pulses: Mapping[str, Pulse],
    key_ages: Mapping[str, float],
    tally: Tally,
    counters: Counters,
    proof: Iterable[Metric],
) -> bytes:
    """Return all counters in the Prometheus text format."""
    registry = CollectorRegistry()
    registry.register(_Snapshot(policy, tunnels, pulses, key_ages, tally, counters, tuple(proof)))
    return generate_latest(registry)


class _Snapshot(Collector):
    def __init__(
        self,
        policy: Policy,
        tunnels: tuple[Tunnel, ...],
        pulses: Mapping[str, Pulse],
        key_ages: Mapping[str, float],
        tally: Tally,
        counters: Counters,
        proof: tuple[Metric, ...],
    ) -> None:
        self._policy = policy
        self._tunnels = tunnels
        self._pulses = pulses
        self._key_ages = key_ages
        self._tally = tally
        self._counters = counters
        self._proof = proof

    def collect(self) -> Iterable[Metric]:
        requests = CounterMetricFamily(
            "pointsman_requests", "Requests and plain TCP flows decided.", labels=("rule", "profile", "tunnel", "code")
        )
        for labels, count in sorted(self._tally.requests.items()):
            requests.add_metric(labels, count)
        yield requests
        yield from self._proof
        guard = CounterMetricFamily("pointsman_guard_packets", "Packets by the guard's counters.", labels=("counter",))
        for name, (packets, _) in sorted(self._counters.items()):
            guard.add_metric((name,), packets)
        yield guard
        up = GaugeMetricFamily("pointsman_tunnel_up", "1 while the tunnel carries requests.", labels=("tunnel", "kind"))
        for tunnel in self._tunnels:
            up.add_metric((tunnel.name, tunnel.kind), tunnel.state.carries)
        yield up
        suffers = GaugeMetricFamily("pointsman_tunnel_degraded", "1 while it comes last.", labels=("tunnel", "why"))
        for tunnel in self._tunnels:
            if tunnel.state is State.DEGRADED:
                suffers.add_metric((tunnel.name, tunnel.why), 1)
        yield suffers
        ages = GaugeMetricFamily("pointsman_tunnel_key_age_seconds", "Age of keys made for it.", labels=("tunnel",))
        for name, age in sorted(self._key_ages.items()):
            ages.add_metric((name,), age)
        yield ages
        yield from self._paths()
        info = GaugeMetricFamily("pointsman_policy_rules", "Rules in force.", labels=("policy", "version"))
        info.add_metric((self._policy.name, self._policy.version), len(self._policy.rules))
        yield info

    def _paths(self) -> Iterable[Metric]:
        loss = GaugeMetricFamily("pointsman_tunnel_loss_ratio", "Part of the last probes lost.", labels=("tunnel",))
        latency = GaugeMetricFamily("pointsman_tunnel_latency_seconds", "Smoothed round trip.", labels=("tunnel",))
        jitter = GaugeMetricFamily("pointsman_tunnel_jitter_seconds", "Smoothed change of it.", labels=("tunnel",))
        for name, pulse in sorted(self._pulses.items()):
            loss.add_metric((name,), pulse.loss)
            jitter.add_metric((name,), pulse.jitter)
            if pulse.latency is not None:
                latency.add_metric((name,), pulse.latency)
        failures = CounterMetricFamily(
            "pointsman_tunnel_failures", "Requests that could not connect, or were reset.", labels=("tunnel", "kind")
        )
        for labels, count in sorted(self._tally.troubles.items()):
            failures.add_metric(labels, count)
        return (loss, latency, jitter, failures)


def _probe(tunnel: Tunnel, pulses: Mapping[str, Pulse]) -> dict[str, Any] | None:
    if tunnel.name not in pulses:
        return None
    pulse = pulses[tunnel.name]
    return {"address": tunnel.probe, "loss": pulse.loss, "latency": pulse.latency, "jitter": pulse.jitter}


def _state(plan: Plan | None, stuck: str, memory: Memory, now: float) -> str:
    if memory.glass_until is not None and memory.glass_until > now:
        return "break-glass"
    if stuck:
        return "stuck"
    if plan is None:
        return "closed"
    return "observe" if memory.observe else "open"


def _profile(policy: Policy, plan: Plan | None, name: str) -> dict[str, Any]:
    way = plan.ways.get(name) if plan else None
    selection = plan.selections.get(name) if plan else None
    lane = way if isinstance(way, Lane) else None
    why = [] if lane or selection is None else objections(selection)
    return {
        "name": name,
        "encryption": policy.profile(name).encryption.name.lower(),
        "tunnel": lane.tunnel if lane else "",
        "shares": {one.tunnel: part for one, part in plan.shares.get(name, ())} if plan else {},
        "sources": list(lane.sources) if lane else [],
        "mark": f"{lane.mark:#010x}" if lane else "",
        "why": why if plan else ["the agent has not got there yet"],
    }
