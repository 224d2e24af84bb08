"""What a request is judged by, gathered for an explanation: policy, facts, and the tunnels as the agent tells."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pointsman.cli.asked import with_stand_ins
from pointsman.cli.captured import Captured
from pointsman.cli.client import Client, NoAgent
from pointsman.cli.files import read_bytes, reader
from pointsman.model.attribute import Value
from pointsman.model.policy import Policy
from pointsman.model.tunnel import Entry, Lease, State, Tunnel

# What an agent that does not hold requests back says of all it would decide
_UNHELD = {
    "observe": ("the agent only observes: requests leave as if nobody had decided",),
    "break-glass": ("the glass is broken: requests leave as if nobody had decided",),
    "stuck": ("the agent could not put all in force: `status` says why",),
}
Way = tuple[str, list[str], dict[str, int]]


@dataclass(frozen=True, slots=True)
class World:
    """What a request is judged by. `tunnels` are those of the pool, `latency` is in seconds, by tunnel.

    `ways` are by profile the tunnel that the agent has decided on, why there is none, and the tunnels that share it by
    weight. They are of its own policy; another one is asked as if it were put in force now.
    """

    policy: Policy
    facts: Mapping[str, Value]
    tunnels: tuple[Tunnel, ...] = ()
    leases: tuple[Lease, ...] = ()
    stays: Mapping[str, str] = field(default_factory=dict)
    latency: Mapping[str, float] = field(default_factory=dict)
    ways: Mapping[str, Way] = field(default_factory=dict)
    captured: Captured | None = None
    unheld: tuple[str, ...] = ()


def look(policy_file: Path | None, node_file: Path | None, runtime: Path) -> World:
    """Return what there is to judge by: what is named, else what the agent at this runtime folder has."""
    from pointsman.node import applied
    from pointsman.node.boot import node_file as last_node_file
    from pointsman.node.config import read_node
    from pointsman.node.resolve import placed
    from pointsman.policy.load import load_policy

    known = node_file or last_node_file(runtime)
    if policy_file is None and known is None:
        raise NoAgent(f"no agent runs at `{runtime}`: name a policy with `--policy FILE`")
    node = read_node(known) if known else None
    if policy_file is not None:
        policy = load_policy(read_bytes(policy_file), str(policy_file), reader(policy_file.parent))
    elif node is not None:
        source = applied.recall(node.state / "policy.json")
        if source is None:
            raise NoAgent(f"no policy was applied at `{runtime}` yet: name one with `--policy FILE`")
        policy = applied.again(source)
    entries = node.entries if node else ()
    as_if_up = tuple(map(_declared, entries)) if node_file else ()
    facts = {f"node.{name}": value for name, value in node.facts} if node else {}
    try:
        status = Client(runtime, timeout=5).get("/v1/status")
    except NoAgent:
        return World(with_stand_ins(policy), facts, as_if_up, captured=node)
    found = {name["host"]: name["addresses"] for name in status["names"]}
    there = World(with_stand_ins(placed(policy, found), found), facts, as_if_up, captured=node)
    if node_file:
        return there
    ways = {one["name"]: (one["tunnel"], one["why"], one.get("shares", {})) for one in status["profiles"]}
    live = {tunnel["name"]: tunnel for tunnel in status["tunnels"]}
    return replace(
        there,
        tunnels=tuple(_live(entry, live[entry.name]) for entry in entries if entry.name in live),
        leases=tuple(Lease(name, tunnel["holder"]) for name, tunnel in live.items() if tunnel["holder"]),
        stays={name: tunnel for name, (tunnel, _, _) in ways.items() if tunnel},
        latency={name: t["probe"]["latency"] for name, t in live.items() if t["probe"] and t["probe"]["latency"]},
        ways=ways if policy_file is None else {},
        unheld=_UNHELD.get(status["state"], ()),
    )


def _declared(entry: Entry) -> Tunnel:
    """Return a tunnel of the pool as if it were up."""
    return Tunnel(
        name=entry.name,
        kind=entry.kind,
        level=entry.level,
        labels=entry.labels,
        state=State.UP,
        device=entry.device or "as-if-up",
        sources=(),
        endpoints=(),
        table=0,
        mtu=0,
        cost=entry.cost,
        weight=entry.weight,
    )


def _live(entry: Entry, told: Mapping[str, Any]) -> Tunnel:
    """Return a tunnel of the pool in the state that the agent tells."""
    return replace(_declared(entry), state=State(told["state"]), why=told["why"])
