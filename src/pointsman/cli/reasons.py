"""Everything that led to a decision, gathered for one request by the code that enforces it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pointsman.cli.asked import Asked, as_request
from pointsman.cli.captured import seen, unreadable
from pointsman.cli.world import Way, World, look
from pointsman.model.attribute import Attribute, Claim, Header, NodeFact, Value
from pointsman.model.context import Absent, Context, Request
from pointsman.model.decision import Deny, Malformed, Misdirected, Permit
from pointsman.model.policy import Policy
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
    world = look(policy_file, node_file, runtime)
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
        "assumed": [*world.unheld, *assumed, *read, *said],
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
