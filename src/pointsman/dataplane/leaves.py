"""What a decision becomes in Envoy: a route to the lane of its profile, or an answer that says why not."""

from collections.abc import Mapping

from pointsman.dataplane.clusters import OBSERVED
from pointsman.dataplane.envoy import Object, extension, typed
from pointsman.dataplane.limits import limited, route_facts
from pointsman.model.diagram import Leaf
from pointsman.model.policy import Policy
from pointsman.model.tunnel import Lane

DENIED = 403
MALFORMED = 400
MISDIRECTED = 421
UNAVAILABLE = 503

Ways = Mapping[str, Lane | str]


class Leaves:
    """The routes of a policy. `ways` holds for each profile its lane now, or why it has none.

    While it is only observed, every request leaves as if nobody had decided, and its record says what was decided.
    """

    def __init__(self, policy: Policy, ways: Ways, observe: bool = False) -> None:
        self._policy = policy
        self._profiles = {profile.name: profile for profile in policy.profiles}
        self._ways = ways
        self._observe = observe
        self._made: dict[tuple[int, str, str], Object] = {}

    def action(self, leaf: Leaf, destination: str) -> Object:
        """Return what the tree does at this leaf for requests to this destination."""
        key = (leaf.rule, leaf.absent, destination)
        if key not in self._made:
            self._made[key] = self._decide(leaf, destination)
        return self._made[key]

    def refuse(self, status: int, why: str, rule: str = "") -> Object:
        """Return the action that answers with this status."""
        if self._observe:
            return _observed(rule, str(status))
        return _route(rule, {"direct_response": {"status": status, "body": {"inline_string": why}}})

    def _decide(self, leaf: Leaf, destination: str) -> Object:
        rule = self._policy.rules[leaf.rule]
        if leaf.absent:
            why = f"the decision rests on `{leaf.absent}`, which this request does not have"
            return self.refuse(DENIED, why, rule.name)
        if rule.profile is None:
            return self.refuse(DENIED, f"rule `{rule.name}` denies it", rule.name)
        if self._observe:
            return _observed(rule.name, rule.profile)
        way = self._ways.get(rule.profile, "it has no tunnel")
        if isinstance(way, str):
            return self.refuse(UNAVAILABLE, f"profile `{rule.profile}`: {way}", rule.name)
        profile = self._profiles[rule.profile]
        counted: Object = {"metadata": route_facts(profile, destination)} if limited(profile) else {}
        return _route(rule.name, {"route": {"cluster": way.cluster, "timeout": "0s"}, **counted})


def _observed(rule: str, outcome: str) -> Object:
    facts: Object = {"filter_metadata": {"pointsman": {"observed": outcome}}}
    return _route(rule, {"route": {"cluster": OBSERVED, "timeout": "0s"}, "metadata": facts})


def _route(name: str, does: Object) -> Object:
    named: Object = {"name": name} if name else {}
    route = typed("envoy.config.route.v3.Route", **named, match={"prefix": ""}, **does)
    return {"action": extension("route", route)}
