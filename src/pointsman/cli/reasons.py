"""Everything that led to a decision, gathered for one request by the code that enforces it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pointsman.cli.asked import Asked, as_request, with_stand_ins
from pointsman.cli.captured import Captured, seen, unreadable
from pointsman.cli.client import Client, NoAgent
from pointsman.cli.files import read_bytes, reader
from pointsman.model.attribute import Attribute, Claim, Header, NodeFact, Value
from pointsman.model.context import Absent, Context, Request
from pointsman.model.decision import Deny, Malformed, Misdirected, Permit
from pointsman.model.policy import Policy
from pointsman.model.tunnel import Entry, Lease, State, Tunnel
from pointsman.policy.context import attributes_of
from pointsman.policy.context import read as read_context
from pointsman.policy.decide import decide
from pointsman.policy.diagram import compile_policy
from pointsman.policy.evaluate import satisfied
from pointsman.policy.holding import unheld
from pointsman.policy.token import verified
from pointsman.tunnels.leases import assign
from pointsman.tunnels.select import Chosen, Selection

Decided = Permit | Deny | Malformed | Misdirected


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


def reasons(
    asked: Asked,
    claims: Mapping[str, object] | None,
    token: str,
    policy_file: Path | None,
    node_file: Path | None,
    runtime: Path,
    now: float,
) -> dict[str, Any]:
    """Return the whole explanation. `now` is in seconds since 1970 and judges the token."""
    world = _world(policy_file, node_file, runtime)
    policy = world.policy
    request, assumed = as_request(asked, policy)
    request, read = seen(request, world.captured)
    given, said = _identity(request, claims, token, policy, now)
    wrong = unreadable(request, world.captured)
    context, decision = (None, wrong) if wrong else judge(policy, request, given, world.facts)
    profile = decision.profile if isinstance(decision, Permit) else ""
    facts = context.facts if context else {}
    nobody = unheld(decision, request, policy, facts, given or {}) if isinstance(decision, Permit) else ""
    tunnel, objections, shares = _tunnel(world, profile)
    return {
        "context": _told(policy, context),
        "trace": [
            {"attribute": step.attribute, "asked": step.asked, "answer": step.answer}
            for step in (decision.trace if isinstance(decision, Permit | Deny) else ())
        ],
        "decision": in_words(decision, request.protocol),
        "rule": decision.rule if isinstance(decision, Permit | Deny) else "",
        "profile": profile,
        "dedicated": "" if nobody else _whose(policy, profile),
        "tunnel": "" if nobody else tunnel,
        "shares": {} if nobody else shares,
        "objections": [f"refused: {nobody}"] if nobody else objections,
        "assumed": [*assumed, *read, *said],
        "policy": {"name": policy.name, "version": policy.version},
    }


def judge(
    policy: Policy, request: Request, claims: Mapping[str, object] | None, facts: Mapping[str, Value]
) -> tuple[Context | None, Decided]:
    """Return the context of a request, where it has one, and the decision."""
    context = read_context(request, policy, claims)
    if not isinstance(context, Context):
        return None, context
    return context, decide(compile_policy(policy, facts), context)


def in_words(decision: Decided, protocol: str) -> str:
    """Return a decision as one line for people, with what the client is told."""
    told = {"tcp": "reset", "grpc": "status 7"}.get(protocol, "403")
    match decision:
        case Permit(profile):
            return f"profile {profile}"
        case Deny(_, _, absent):
            return f"deny ({told})" + (f": rests on `{absent}`, which this request does not have" if absent else "")
        case Malformed(why):
            return f"malformed (400): {why}"
        case Misdirected(destination, address):
            return f"misdirected (421): {address} is no address of destination `{destination}`"


def _world(policy_file: Path | None, node_file: Path | None, runtime: Path) -> World:
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


def _identity(
    request: Request, claims: Mapping[str, object] | None, token: str, policy: Policy, now: float
) -> tuple[Mapping[str, object] | None, tuple[str, ...]]:
    identity = policy.identity
    if identity is None:
        ignored = "the policy has no identity: claims and tokens say nothing to it"
        return None, (ignored,) if claims is not None or token else ()
    if request.protocol == "tcp":
        ignored = "a plain TCP flow carries no token: claims say nothing to it"
        return None, (ignored,) if claims is not None or token else ()
    if claims is not None:
        return claims, ("the claims are taken as if a verified token had them",)
    sent = token or ",".join(value for name, value in request.headers if name == identity.header)
    sent = sent.removeprefix(identity.prefix) if identity.prefix else sent
    if not sent:
        return None, ()
    answer = verified(sent, identity, now)
    return (None, (f"the token proves nothing: {answer}",)) if isinstance(answer, str) else (answer, ())


def _whose(policy: Policy, profile: str) -> str:
    holding = policy.profile(profile).holding if profile else None
    return holding.who if holding else ""


def _tunnel(world: World, profile: str) -> tuple[str | None, list[str], dict[str, int]]:
    """Return a profile's tunnel, None where nobody tells, what speaks against the others, and who shares with it."""
    if not profile or _whose(world.policy, profile):
        return "", [], {}
    known = world.ways.get(profile)
    if not world.tunnels and not world.ways:
        return None, ["which tunnels there are is not known: no agent runs, and no node file is named with --node"], {}
    if known is not None and (not world.tunnels or not known[0]):
        return known
    pooled = [one for one in world.policy.profiles if one.holding is None]
    selection = assign(pooled, world.tunnels, world.leases, world.stays, world.latency).selections[profile]
    chosen, _, shares = known or _chosen(selection)
    rejected = [one for one in selection.rejected if one.tunnel != chosen and one.tunnel not in shares]
    return chosen, [f"{one.tunnel}: {objection}" for one in rejected for objection in one.objections], shares


def _chosen(selection: Selection) -> Way:
    return (selection.tunnel, [], dict(selection.shares)) if isinstance(selection, Chosen) else ("", [], {})


def _told(policy: Policy, context: Context | None) -> list[dict[str, object]]:
    if context is None:
        return []
    told: list[dict[str, object]] = []
    for attribute in attributes_of(policy):
        fact = context.facts.get(attribute.name)
        if fact is None:
            continue
        missing = fact.why if isinstance(fact, Absent) else ""
        value = None if isinstance(fact, Absent) else fact
        told.append(
            {"attribute": attribute.name, "value": value, "source": _source(attribute, policy), "absent": missing}
        )
    for name, cases in policy.derived:
        known = next((value for value, formula in cases if satisfied(formula, context.facts)), None)
        missing = "" if known is not None else "nothing declares it for this request"
        told.append({"attribute": name, "value": known, "source": "derived from the facts above", "absent": missing})
    return told


def _source(attribute: Attribute, policy: Policy) -> str:
    match attribute.source:
        case Claim(name):
            return f"claim `{name}` of the verified token"
        case Header(name):
            return f"header `{name}`, trusted by the policy"
        case NodeFact():
            return "the node file"
    return "the interception"
