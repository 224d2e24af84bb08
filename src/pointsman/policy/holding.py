"""Who holds a tunnel of its own? Which fact of a request tells the holders of a profile apart."""

from collections.abc import Iterable, Mapping

from pointsman.model.attribute import BUILTINS, AbsentDeny, Attribute, Claim, Header, Type, Value
from pointsman.model.context import Absent, Request
from pointsman.model.decision import Permit
from pointsman.model.policy import Policy
from pointsman.model.problem import Place
from pointsman.model.profile import Holding, Profile, Who
from pointsman.policy.check import Findings
from pointsman.policy.context import usable

# The subject of a verified token (RFC 7519, 4.1.2), however the policy calls it for its rules
USER = Attribute("user", Type.STRING, Claim("sub"), AbsentDeny())
WORKLOAD = next(attribute for attribute in BUILTINS if attribute.name == "process.uid")


def holder_attribute(holding: Holding, attributes: Iterable[Attribute]) -> Attribute | None:
    """Return the attribute whose value names the holder; None where the rule's name does."""
    match holding.who:
        case Who.USER:
            return USER
        case Who.WORKLOAD:
            return WORKLOAD
        case Who.RULE:
            return None
        case Who.ATTRIBUTE:
            return next(attribute for attribute in attributes if attribute.name == holding.attribute)


def holder_attributes(policy: Policy) -> tuple[Attribute, ...]:
    """Return the attributes that tell holders apart, of all profiles."""
    holdings = [profile.holding for profile in policy.profiles if profile.holding is not None]
    found = (holder_attribute(holding, policy.attributes) for holding in holdings)
    return tuple(dict.fromkeys(attribute for attribute in found if attribute is not None))


def holder_of(
    holding: Holding, rule: str, policy: Policy, facts: Mapping[str, Value | Absent], claims: Mapping[str, object]
) -> str | Absent:
    """Return the holder of one request. `claims` are those of its verified token."""
    attribute = holder_attribute(holding, policy.attributes)
    if attribute is None:
        return rule
    subject = claims.get("sub")
    known: Value | Absent = subject if isinstance(subject, str) else Absent("no user is proven")
    fact = known if attribute is USER else usable(attribute, facts.get(attribute.name, Absent("not given")))
    if isinstance(fact, Absent):
        return fact
    return named(fact)


def unheld(
    permit: Permit, request: Request, policy: Policy, facts: Mapping[str, Value | Absent], claims: Mapping[str, object]
) -> str:
    """Return why a request is refused whose profile holds a tunnel for each holder; empty where it is not."""
    holding = policy.profile(permit.profile).holding
    if holding is None:
        return ""
    if request.protocol == "tcp":
        return f"plain TCP does not travel by `{permit.profile}`, which holds a tunnel {holding.who}"
    if holding.who is Who.WORKLOAD:  # who calls is always known where it is enforced
        return ""
    holder = holder_of(holding, permit.rule, policy, facts, claims)
    return f"nobody is known whose tunnel it could be, {holder.why}" if isinstance(holder, Absent) else ""


def named(value: Value) -> str:
    """Return what a holder is called who is told apart by this value."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def check(
    profiles: Iterable[Profile],
    places: Mapping[str, Place],
    attributes: Mapping[str, Attribute],
    with_identity: bool,
    found: Findings,
) -> None:
    """Note every profile whose holders cannot be told apart."""
    for profile in profiles:
        holding, place = profile.holding, places.get(profile.name, Place())
        if holding is None:
            continue
        if holding.who is Who.USER and not with_identity:
            what = f"`{profile.name}` holds tunnels per user, and `identity:` does not say how users are proven"
            found.add(place, "holder", what)
        if holding.who is not Who.ATTRIBUTE:
            continue
        attribute = attributes.get(holding.attribute)
        if attribute is None:
            found.unknown(place, "attribute", holding.attribute, attributes)
        elif attribute.type is Type.STRINGS or not isinstance(attribute.source, Claim | Header):
            what = f"`{holding.attribute}` cannot tell the holders of `{profile.name}` apart"
            found.add(place, "holder", what, "take an attribute with one value, from a claim or a header")
