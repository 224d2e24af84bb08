"""The profiles that a policy declares, from the document to the model."""

from pointsman.model.problem import Place
from pointsman.model.profile import (
    Choose,
    Health,
    Holding,
    Level,
    Limits,
    OnFailure,
    OnMove,
    Profile,
    Qos,
    Rate,
    Selector,
    Who,
)
from pointsman.policy.check import Findings
from pointsman.policy.document import Document
from pointsman.policy.schema import HealthSpec, PerAttribute, ProfileSpec, RateSpec
from pointsman.policy.shape import Shape

_UNITS = {"kbit": 1_000, "Mbit": 1_000_000, "Gbit": 1_000_000_000}
_SHORTEST = 0.05
_LONGEST = 3600.0
_MOST = 1_000_000_000_000
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_LONGEST_WAIT = 30


def profiles(shape: Shape, document: Document, found: Findings) -> tuple[tuple[Profile, ...], dict[str, Place]]:
    """Return the declared profiles and where each is declared."""
    named = []
    for position, spec in enumerate(shape.policy.profiles):
        at = shape.index("profiles", position)
        named.append((spec.name, document.find("profiles", at, "name")))
        _check(spec, at, document, found)
    found.duplicates("profile", named)
    return tuple(_profile(spec) for spec in shape.policy.profiles), dict(reversed(named))


def bandwidth(text: str) -> int:
    """Return the bits per second of a text like `10Mbit`."""
    return int(text[:-4]) * _UNITS[text[-4:]]


def seconds(text: str) -> int:
    """Return the seconds of a time like `10m`."""
    return int(text[:-1]) * _SECONDS[text[-1]]


def span(text: str) -> float:
    """Return the seconds of a short time like `200ms` or `2s`."""
    return int(text[:-2]) / 1000 if text.endswith("ms") else seconds(text)


def _profile(spec: ProfileSpec) -> Profile:
    limits = Limits(
        _rate(spec.limits.requests),
        _rate(spec.limits.per_user),
        _rate(spec.limits.per_destination),
        _bits(spec.limits.bandwidth),
        _bits(spec.limits.guaranteed),
    )
    return Profile(
        spec.name,
        Level[spec.encryption.upper()],
        Selector(tuple(sorted(spec.select.labels.items())), tuple(spec.select.names)),
        spec.dedicated is True,
        Qos(spec.qos),
        limits,
        OnFailure(spec.on_failure),
        _holding(spec),
        _health(spec.health),
        Choose(spec.choose),
        None if spec.fail_back == "never" else seconds(spec.fail_back.after),
        OnMove(spec.on_move),
        seconds(spec.drain_within),
        spec.dscp_outer,
    )


def _bits(text: str | None) -> int | None:
    return bandwidth(text) if text else None


def _holding(spec: ProfileSpec) -> Holding | None:
    match spec.dedicated:
        case bool():
            return None
        case PerAttribute(attribute=attribute):
            who = Who.ATTRIBUTE
        case word:
            who, attribute = Who(word), ""
    rotate = 0 if spec.provision.rotate == "never" else seconds(spec.provision.rotate)
    return Holding(who, attribute, seconds(spec.provision.wait), seconds(spec.provision.idle), rotate)


def _health(spec: HealthSpec) -> Health:
    latency = None if spec.latency is None else span(spec.latency)
    return Health(span(spec.interval), spec.down, spec.up, int(spec.loss[:-1]) / 100, latency)


def _rate(spec: RateSpec | None) -> Rate | None:
    return None if spec is None else Rate(spec.rate, spec.burst if spec.burst is not None else spec.rate)


def _check(spec: ProfileSpec, at: int, document: Document, found: Findings) -> None:
    limits = spec.limits
    for field, text in (("bandwidth", limits.bandwidth), ("guaranteed", limits.guaranteed)):
        if text and not 8_000 <= bandwidth(text) <= _MOST:
            place = document.find("profiles", at, "limits", field)
            found.add(place, "bandwidth", f"`{text}` is not between 8kbit and 1000Gbit")
    if limits.guaranteed and limits.bandwidth and bandwidth(limits.guaranteed) > bandwidth(limits.bandwidth):
        place = document.find("profiles", at, "limits", "guaranteed")
        found.add(place, "bandwidth", f"`{limits.guaranteed}` is more than the `bandwidth` of `{limits.bandwidth}`")
    if spec.dscp_outer and not spec.dedicated:
        place = document.find("profiles", at, "dscpOuter")
        hint = "say `dedicated`, or give the tunnel `outerDscp` in the node file"
        found.add(
            place, "shared-tunnel", "others may share the tunnel, and one outer packet looks like any other", hint
        )
    if seconds(spec.provision.wait) > _LONGEST_WAIT:
        place = document.find("profiles", at, "provision", "wait")
        found.add(place, "malformed", f"`{spec.provision.wait}` is longer than {_LONGEST_WAIT}s")
    if not _SHORTEST <= span(spec.health.interval) <= _LONGEST:
        found.add(
            document.find("profiles", at, "health", "interval"),
            "interval",
            f"`{spec.health.interval}` is not between 50ms and 1h",
        )
    names = spec.select.names
    if spec.choose == "ordered" and not names:
        place = document.find("profiles", at, "choose")
        found.add(
            place, "no-order", "`ordered` needs an order", "list the tunnels in `select.names`, the first one first"
        )
    for name in sorted({name for name in names if names.count(name) > 1}):
        found.add(document.find("profiles", at, "select", "names"), "duplicate-name", f"tunnel `{name}` is named twice")
