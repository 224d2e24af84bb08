"""What should become of a call, by the code that decides for real; and does what was seen agree with it?

Pure: knows the policy and which tunnel each profile and each holder has now, and asks nobody else. The tunnel of a
holder is known once its first request has been answered; until then it may be one of any gateway that fits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pointsman.lab import world
from pointsman.lab.demo.script import UID, Call
from pointsman.model.attribute import Claim, Value
from pointsman.model.context import Absent, Request
from pointsman.model.decision import Malformed, Misdirected, Permit
from pointsman.model.formula import Formula
from pointsman.model.profile import OnFailure, Profile
from pointsman.policy.context import attributes_of, read, usable
from pointsman.policy.decide import decide
from pointsman.policy.diagram import Compiled
from pointsman.policy.evaluate import satisfied
from pointsman.policy.holding import holder_of
from pointsman.policy.token import verified

OK = 200
# What a refusal is in gRPC, by its HTTP status
GRPC = {OK: 0, 400: 13, 403: 7, 421: 12, 429: 8, 503: 14}
# Of a plain TCP flow the caller learns no status: it goes through, or it is reset
RESET = 0
# The tunnel of a holder that has none yet
NEW = "a new one"


@dataclass(frozen=True, slots=True)
class Held:
    """The tunnel that somebody holds, and the gateway where it ends."""

    tunnel: str
    gateway: str


@dataclass(frozen=True, slots=True)
class Ways:
    """Where requests can go now: the tunnel of each profile, and of each holder by profile and key.

    `spares` are tunnels that wait for a holder. Gateways in `dead` lead nowhere; holders in `barred` get no tunnel.
    """

    tunnels: Mapping[str, str]
    held: Mapping[tuple[str, str], Held] = field(default_factory=dict)
    spares: frozenset[str] = frozenset()
    dead: frozenset[str] = frozenset()
    barred: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Decided:
    """The path of a call: `status` is what the caller should get, `sources` what the origin may see it come from.

    A call that should not reach the origin has no `sources`. `clear` says that it may be read on the wire; `holder`
    whose tunnel it takes, where its profile gives everybody one.
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
    holder: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """What the caller got, the source address of each time that the origin saw the call, and how long it took."""

    status: int
    sources: tuple[str, ...]
    error: str = ""
    seconds: float = 0.0


def decided(compiled: Compiled, call: Call, token: str, now: float, ways: Ways) -> Decided:
    """Return what should become of a call."""
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
    profile = policy.profile(answer.profile)
    key: str | Absent = ""
    if profile.holding is not None:
        key = holder_of(profile.holding, answer.rule, policy, context.facts, proven or {})
    usual = (user, data, told["operation"], answer.rule, answer.profile)
    if isinstance(key, Absent):
        return Decided(*usual, "", _said(call, 403), ())
    tunnel, ends = _way(profile, key, ways)
    family = ":" in call.address
    seen = tuple(address for end in ends for address in world.seen_as(end) if (":" in address) == family)
    clear = bool(seen) and profile.encryption == 0
    return Decided(*usual, tunnel, _said(call, OK if seen else 503), seen, clear, key)


def settled(wanted: Decided, ways: Ways) -> Decided:
    """Return the path of a call whose tunnel was made for it, now that it is known; no path if there is none."""
    if wanted.tunnel != NEW:
        return wanted
    held = ways.held.get((wanted.profile, wanted.holder), Held("", ""))
    fitting = world.seen_as(held.gateway) if held.tunnel else ()
    return replace(wanted, tunnel=held.tunnel, sources=tuple(s for s in wanted.sources if s in fitting))


def shared(wanted: Decided, ways: Ways) -> tuple[str, ...]:
    """Return who else holds the tunnel of a call that should be its holder's alone."""
    own = (wanted.profile, wanted.holder)
    return tuple(
        f"its tunnel is {key}'s, too"
        for (profile, key), held in ways.held.items()
        if wanted.holder and held.tunnel == wanted.tunnel and (profile, key) != own
    )


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


def _way(profile: Profile, key: str, ways: Ways) -> tuple[str, tuple[str, ...]]:
    """Return the tunnel of a profile, or of a holder's, and the tunnels or gateways that it may come out of."""
    if profile.holding is None:
        tunnel = ways.tunnels.get(profile.name, "")
        end = next((gateway.host for gateway in world.GATEWAYS if gateway.tunnel == tunnel), tunnel)
        return tunnel, (tunnel,) if tunnel and end not in ways.dead else ()
    if (profile.name, key) in ways.barred:
        return "", ()
    held = ways.held.get((profile.name, key))
    if held is not None and held.gateway not in ways.dead:
        return held.tunnel, (held.gateway,)
    if held is not None and profile.on_failure is OnFailure.BLOCK:
        return held.tunnel, ()
    return NEW, tuple(gateway.host for gateway in world.GATEWAYS if _fits(gateway, profile, ways.dead))


def _fits(gateway: world.Gateway, profile: Profile, dead: frozenset[str]) -> bool:
    labels, names = profile.selector.labels, profile.selector.names
    wanted = {*labels} <= {*gateway.labels} and (not names or gateway.host in names)
    return wanted and gateway.level >= profile.encryption and gateway.host not in dead


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
