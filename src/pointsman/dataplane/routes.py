"""The routes: one virtual host for each set of declared hosts, and in it the decision tree of its destinations.

Before a tree is entered the request is well-formed, and it goes to an address of the destination that its host
names. Every way through a tree ends at a route that is named after the rule which decided.
"""

from collections.abc import Iterable

from pointsman.dataplane import asking, headers, predicates
from pointsman.dataplane.envoy import Json, Object, typed
from pointsman.dataplane.http import ROUTES
from pointsman.dataplane.inputs import inputs_of
from pointsman.dataplane.leaves import MALFORMED, MISDIRECTED, Leaves
from pointsman.dataplane.matcher import compile_node
from pointsman.dataplane.users import Classes
from pointsman.model.attribute import Header, Type
from pointsman.model.diagram import Leaf
from pointsman.model.policy import Destination, Policy
from pointsman.policy.context import attributes_of
from pointsman.policy.diagram import Compiled, toward


def compile_routes(compiled: Compiled, leaves: Leaves, classes: Classes) -> Object:
    """Return the route configuration."""
    policy = compiled.policy
    known = Candidates(policy.destinations)
    shared: dict[tuple[str, ...], list[str]] = {}
    for pattern in known.patterns():
        shared.setdefault(tuple(one.name for one in known.of(pattern)), []).append(pattern)
    host = _Host(compiled, leaves, classes)
    hosts: list[Json] = [
        {
            "name": " ".join(names) or "elsewhere",
            "domains": [domain for pattern in patterns for domain in _domains(pattern)],
            "matcher": host.matcher(known.of(patterns[0])),
        }
        for names, patterns in sorted(shared.items())
    ]
    return typed(
        "envoy.config.route.v3.RouteConfiguration",
        name=ROUTES,
        ignore_port_in_host_matching=True,
        request_headers_to_remove=_removed(policy),
        virtual_hosts=hosts,
        **({"typed_per_filter_config": asking.asking_nowhere()} if _with_holders(policy) else {}),
    )


class Candidates:
    """Which destinations a host may belong to, looked up by the patterns that cover it."""

    def __init__(self, destinations: Iterable[Destination]) -> None:
        every = tuple(destinations)
        self.by_address = tuple(one for one in every if not one.hosts)
        self._by_host: dict[str, list[Destination]] = {}
        for one in every:
            for host in one.hosts:
                self._by_host.setdefault(host, []).append(one)

    def patterns(self) -> tuple[str, ...]:
        """Return all declared hosts, and `*` for all others."""
        return tuple(sorted({*self._by_host, "*"}))

    def of(self, pattern: str) -> tuple[Destination, ...]:
        """Return the destinations for hosts of this pattern, the closest first.

        The exact host comes before the longest wildcard, and that before destinations declared by address alone.
        """
        labels = pattern.removeprefix("*.").split(".")
        wider = ["*." + ".".join(labels[place:]) for place in range(0 if pattern[0] == "*" else 1, len(labels))]
        covering = dict.fromkeys((pattern, *wider))
        named = dict.fromkeys(one for host in covering for one in self._by_host.get(host, ()))
        return (*named, *self.by_address)


def _domains(pattern: str) -> tuple[str, ...]:
    return (pattern,) if pattern == "*" or pattern.endswith("]") else (pattern, f"{pattern}.")


def _removed(policy: Policy) -> list[Json]:
    """Return what the origin must not see: our context, what Envoy adds, and a token that is for us alone."""
    claims = [headers.claim_header(claim) for claim in headers.claims(policy)]
    own = [*headers.needed(policy), *claims, *map(headers.json_header, headers.json_claims(policy))]
    own += [asking.TUNNEL] if _with_holders(policy) else []
    identity = policy.identity
    token = [identity.header] if identity and not identity.forward and identity.header != "authorization" else []
    return [*own, "x-forwarded-proto", "x-envoy-external-address", *token]


def _with_holders(policy: Policy) -> bool:
    return any(profile.holding is not None for profile in policy.profiles)


class _Host:
    """The matcher of one virtual host."""

    def __init__(self, compiled: Compiled, leaves: Leaves, classes: Classes) -> None:
        policy = compiled.policy
        self._compiled = compiled
        self._inputs = inputs_of(attributes_of(policy))
        self._leaves = leaves
        self._classes = classes
        self._raw = any(one.raw_path for one in policy.destinations)
        self._single = [
            one.source.name
            for one in headers.asked(policy)
            if isinstance(one.source, Header) and one.type is not Type.STRINGS
        ]

    def matcher(self, candidates: tuple[Destination, ...]) -> Object:
        """Return the checks of the request itself, then the tree of the first destination that fits."""
        checks = [
            (
                predicates.malformed_authority(),
                self._leaves.refuse(MALFORMED, "the host of the request is not a host name"),
            )
        ]
        checks += [
            (predicates.has_comma(name), self._leaves.refuse(MALFORMED, f"`{name}` is given more than once"))
            for name in self._single
        ]
        entries = [_entry(predicate, action) for predicate, action in checks]
        for candidate in candidates:
            fits = predicates.fits(candidate)
            if fits is None:
                return _list(entries, self._destination(candidate))
            entries.append(_entry(fits, self._destination(candidate)))
        return _list(entries, self._decide("", raw=False))

    def _destination(self, destination: Destination) -> Object:
        then = self._decide(destination.name, destination.raw_path)
        if destination.any_address or not destination.hosts:
            return then
        elsewhere = predicates.elsewhere(destination.addresses)
        wrong = self._leaves.refuse(MISDIRECTED, f"the connection does not go to an address of `{destination.name}`")
        return {"matcher": _list([_entry(elsewhere, wrong)], then)}

    def _decide(self, destination: str, raw: bool) -> Object:
        then = self._tree(destination)
        if not self._raw or raw:
            return then
        wrong = self._leaves.refuse(MALFORMED, "the path is not in its normal form")
        return {"matcher": _list([_entry(predicates.path_not_normal(), wrong)], then)}

    def _tree(self, destination: str) -> Object:
        node = self._classes.rewrite(toward(self._compiled, destination))

        def action(leaf: Leaf) -> Object:
            return self._leaves.action(leaf, destination)

        return action(node) if isinstance(node, Leaf) else {"matcher": compile_node(node, self._inputs, action)}


def _entry(predicate: Object, then: Object) -> Object:
    return {"predicate": predicate, "on_match": then}


def _list(entries: list[Object], otherwise: Object) -> Object:
    matchers: list[Json] = [*entries]
    return {"matcher_list": {"matchers": matchers}, "on_no_match": otherwise}
