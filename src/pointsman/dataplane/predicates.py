"""The questions that come before the decision tree, as Envoy matcher predicates over request headers."""

from collections.abc import Iterable

from pointsman.dataplane import headers
from pointsman.dataplane.envoy import Json, Object, extension, typed
from pointsman.dataplane.numbers import between
from pointsman.model.policy import Destination, Ports
from pointsman.policy.destination import AUTHORITY
from pointsman.policy.path import NOT_NORMAL


def malformed_authority() -> Object:
    """Hold where the authority is not one host name or address literal with an optional port."""
    either: list[Json] = [{"not_matcher": _regex(":authority", AUTHORITY)}, _regex(":authority", ".{271,}")]
    return {"or_matcher": {"predicate": either}}


def has_comma(header: str) -> Object:
    """Hold where a header that has one value was given several."""
    return _single(header, {"value_match": {"contains": ","}})


def path_not_normal() -> Object:
    """Hold where the path could mean another path to the origin than to the policy."""
    return _regex(":path", NOT_NORMAL)


def fits(destination: Destination) -> Object | None:
    """Hold where a connection's port, and without declared hosts its address, is one of the destination's.

    None says that every connection fits.
    """
    asked = [_port(destination.ports)] if destination.ports else []
    if not destination.hosts and destination.addresses:
        asked.append(within(destination.addresses))
    return _all(asked) if asked else None


def elsewhere(networks: Iterable[str]) -> Object:
    """Hold where the connection goes to none of these networks."""
    listed = tuple(networks)
    return {"not_matcher": within(listed)} if listed else _regex(headers.ADDRESS, ".*")


def within(networks: Iterable[str]) -> Object:
    """Hold where the connection goes to one of these networks."""
    ranges: list[Json] = []
    for network in networks:
        address, _, length = network.partition("/")
        ranges.append({"address_prefix": address, "prefix_len": int(length or (128 if ":" in address else 32))})
    matcher = typed("envoy.extensions.matching.input_matchers.ip.v3.Ip", cidr_ranges=ranges, stat_prefix="address")
    return _single(headers.ADDRESS, {"custom_match": extension("envoy.matching.matchers.ip", matcher)})


def _port(ports: Ports) -> Object:
    return _regex(headers.PORT, "|".join(between(first, last) for first, last in ports))


def _single(header: str, match: Object) -> Object:
    asked = extension("header", typed("envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name=header))
    return {"single_predicate": {"input": asked, **match}}


def _regex(header: str, pattern: str) -> Object:
    return _single(header, {"value_match": {"safe_regex": {"google_re2": {}, "regex": pattern}}})


def _all(parts: list[Object]) -> Object:
    every: list[Json] = [*parts]
    return parts[0] if len(parts) == 1 else {"and_matcher": {"predicate": every}}
