"""What should become of a call, by the code that decides for real; and does what was seen agree with it?

Pure: knows the policy and which tunnel each profile has now, and asks nobody else.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pointsman.lab import world
from pointsman.lab.demo.script import UID, Call
from pointsman.model.attribute import Claim, Value
from pointsman.model.context import Absent, Request
from pointsman.model.decision import Malformed, Misdirected, Permit
from pointsman.model.formula import Formula
from pointsman.policy.context import attributes_of, read, usable
from pointsman.policy.decide import decide
from pointsman.policy.diagram import Compiled
from pointsman.policy.evaluate import satisfied
from pointsman.policy.token import verified

OK = 200
# What a refusal is in gRPC, by its HTTP status
GRPC = {OK: 0, 400: 13, 403: 7, 421: 12, 429: 8, 503: 14}
# Of a plain TCP flow the caller learns no status: it goes through, or it is reset
RESET = 0


@dataclass(frozen=True, slots=True)
class Decided:
    """The path of a call: `status` is what the caller should get, `sources` what the origin may see it come from.

    A call that should not reach the origin has no `sources`. `clear` says that it may be read on the wire.
    """

    user: str
    data: str
    operation: str
    rule: str
    profile: str
    tunnel: str
    status: int
    sources: tuple[str, ...]
    clear: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """What the caller got, and the source address of each time that the origin saw the call."""

    status: int
    sources: tuple[str, ...]
    error: str = ""


def decided(
    compiled: Compiled,
    call: Call,
    token: str,
    now: float,
    ways: Mapping[str, str],
    dead: Collection[str] = (),
) -> Decided:
    """Return what should become of a call. `ways` gives each profile's tunnel; `dead` ones lead nowhere."""
    policy = compiled.policy
    claims = verified(token, policy.identity, now) if token and policy.identity else None
    headers = tuple((name.lower(), value) for name, value in call.headers)
    request = Request(call.protocol, call.method, call.host, call.path, headers, call.address, call.port, UID)
    proven = None if isinstance(claims, str) else claims
    context = read(request, policy, proven)
    user = _user(compiled, proven or {})
    if isinstance(context, Malformed | Misdirected):
        status = 400 if isinstance(context, Malformed) else 421
        return Decided(user, "", "", "", "", "", _said(call, status), ())
    facts = {a.name: usable(a, context.facts.get(a.name, Absent("not given"))) for a in attributes_of(policy)}
    told = {name: _derived(values, facts) for name, values in policy.derived}
    data = " ".join(value for name, value in told.items() if name.startswith("data."))
    answer = decide(compiled, context)
    if not isinstance(answer, Permit):
        return Decided(user, data, told["operation"], answer.rule, "", "", _said(call, 403), ())
    tunnel = ways.get(answer.profile, "")
    usual = (user, data, told["operation"], answer.rule, answer.profile, tunnel)
    if not tunnel or tunnel in dead:
        return Decided(*usual, _said(call, 503), ())
    family = ":" in call.address
    seen = tuple(address for address in world.seen_as(tunnel) if (":" in address) == family)
    return Decided(*usual, _said(call, OK), seen, clear=policy.profile(answer.profile).encryption == 0)


def differences(wanted: Decided, seen: Observed) -> tuple[str, ...]:
    """Return everything in which the path taken is not the path decided; nothing where they agree."""
    found = []
    if seen.status != wanted.status:
        why = f" ({seen.error})" if seen.error else ""
        found.append(f"answer {seen.status}{why}, decided {wanted.status}")
    if not wanted.sources and seen.sources:
        found.append(f"reached the origin from {', '.join(seen.sources)}, decided to stay")
    if wanted.sources and not seen.sources:
        found.append("did not reach the origin")
    if wanted.sources:
        found += [
            f"came from {source}, decided {wanted.tunnel}" for source in seen.sources if source not in wanted.sources
        ]
    if len(seen.sources) > 1:
        found.append(f"reached the origin {len(seen.sources)} times")
    return tuple(found)


def too_many(passed: int, limited: int, rate: int, burst: int, seconds: float) -> tuple[str, ...]:
    """Return what is wrong with how many requests passed a limit in this time; the bucket was full or less before."""
    most = burst + rate * (int(seconds) + 1)
    found = [f"{passed} passed, decided at most {most}"] if passed > most else []
    return (*found, "none was limited") if not limited else tuple(found)


def _derived(values: tuple[tuple[Value, Formula], ...], facts: Mapping[str, Value | Absent]) -> str:
    return next((str(value) for value, formula in values if satisfied(formula, facts)), "")


def _user(compiled: Compiled, claims: Mapping[str, object]) -> str:
    """Return what of the verified token the policy asks about, in short."""
    names = [a.source.name for a in compiled.policy.attributes if isinstance(a.source, Claim)]
    return " ".join(str(claims[name]) for name in names if name in claims) or "nobody"


def _said(call: Call, status: int) -> int:
    if call.protocol == "grpc":
        return GRPC[status]
    return status if call.protocol == "http" or status == OK else RESET
