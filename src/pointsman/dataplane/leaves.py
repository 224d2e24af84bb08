"""What a decision becomes in Envoy: a route to the lane of its profile, or an answer that says why not."""

from collections.abc import Mapping

from pointsman.dataplane.asking import asking_route
from pointsman.dataplane.clusters import OBSERVED
from pointsman.dataplane.envoy import Json, Object, extension, typed
from pointsman.dataplane.failover import by_method, in_turn
from pointsman.dataplane.inputs import ask, header_input, inputs_of, negation
from pointsman.dataplane.limits import limited, route_facts
from pointsman.dataplane.sharing import Shares, by_connection
from pointsman.model.attribute import AbsentDeny
from pointsman.model.diagram import Leaf
from pointsman.model.formula import Present
from pointsman.model.policy import Policy
from pointsman.model.profile import Holding, Profile
from pointsman.model.tunnel import Lane
from pointsman.policy.holding import holder_attribute, named

DENIED = 403
MALFORMED = 400
MISDIRECTED = 421
UNAVAILABLE = 503

Ways = Mapping[str, Lane | str]
Holders = Mapping[str, Mapping[str, Lane]]
Nexts = Mapping[str, tuple[Lane, ...]]


class Leaves:
    """The routes of a policy. `ways` holds for each profile its lane now, or why it has none.

    `holders` are by profile those that have a lane of their own, by the text that tells them apart in the proxy. All
    others ask for one, where `asks` says that somebody can make it. `nexts` are by a lane's cluster the lanes that
    take over what it does not answer, `shares` by profile those that share its connections. While it is only observed,
    every request leaves as if nobody had decided, and its record says what was decided.
    """

    def __init__(
        self,
        policy: Policy,
        ways: Ways,
        observe: bool = False,
        holders: Holders | None = None,
        asks: bool = False,
        nexts: Nexts | None = None,
        shares: Shares | None = None,
    ) -> None:
        self._policy = policy
        self._profiles = {profile.name: profile for profile in policy.profiles}
        self._ways = ways
        self._observe = observe
        self._holders = holders or {}
        self._asks = asks
        self._nexts = nexts or {}
        self._shares = shares or {}
        self._counted = {profile.name for profile in policy.profiles if limited(profile)}
        self._made: dict[tuple[int, str, str], Object] = {}

    def action(self, leaf: Leaf, destination: str) -> Object:
        """Return what the tree does at this leaf for requests to this destination."""
        counted = self._policy.rules[leaf.rule].profile in self._counted
        key = (leaf.rule, leaf.absent, destination if counted else "")
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
        profile = self._profiles[rule.profile]
        if profile.holding is not None:
            return self._held(profile, profile.holding, rule.name, destination)
        way = self._ways.get(rule.profile, "it has no tunnel")
        if isinstance(way, str):
            return self.refuse(UNAVAILABLE, f"profile `{rule.profile}`: {way}", rule.name)
        if shares := self._shares.get(profile.name):
            return by_connection((self._by(lane, profile, rule.name, destination), part) for lane, part in shares)
        return self._by(way, profile, rule.name, destination)

    def _held(self, profile: Profile, holding: Holding, rule: str, destination: str) -> Object:
        """Return the look-up of the holder; one that is not known yet asks, and one that is nobody is refused."""
        lanes = self._holders.get(profile.name, {})
        asking = self._ask(profile, rule, destination)
        attribute = holder_attribute(holding, self._policy.attributes)
        if attribute is None:
            return self._by(lanes[rule], profile, rule, destination) if rule in lanes else asking
        entry = inputs_of([attribute])[attribute.name]
        nobody = asking
        if isinstance(attribute.absent, AbsentDeny):
            why = (
                f"profile `{profile.name}` holds a tunnel for each `{attribute.name}`, which this request does not have"
            )
            nobody = self.refuse(DENIED, why, rule)
        elif lane := lanes.get(named(attribute.absent.value)):
            nobody = self._by(lane, profile, rule, destination)
        known: Object = {"on_no_match": asking}
        if lanes:
            table: Object = {text: self._by(lane, profile, rule, destination) for text, lane in sorted(lanes.items())}
            known |= {"matcher_tree": {"input": header_input(entry.header), "exact_match_map": {"map": table}}}
        present = ask(entry, Present())
        if present is True:
            return {"matcher": known}
        # first: what has the text of somebody's name may still be no name, but a list
        absent: Json = [{"predicate": negation(present), "on_match": nobody}]
        return {"matcher": {"matcher_list": {"matchers": absent}, "on_no_match": {"matcher": known}}}

    def _ask(self, profile: Profile, rule: str, destination: str) -> Object:
        if not self._asks:
            return self.refuse(UNAVAILABLE, f"profile `{profile.name}`: no gateway can make its tunnel", rule)
        return _route(rule, asking_route(rule, profile.name) | _counted(profile, destination))

    def _by(self, lane: Lane, profile: Profile, rule: str, destination: str) -> Object:
        counted = _counted(profile, destination)
        if nexts := self._nexts.get(lane.cluster, ()):
            twice: Object = {"route": in_turn((lane, *nexts), idempotent=True)}
            once: Object = {"route": in_turn((lane, *nexts), idempotent=False)}
            return by_method(_route(rule, twice | counted), _route(rule, once | counted))
        way: Object = {"route": {"cluster": lane.cluster, "timeout": "0s"}}
        return _route(rule, way | counted)


def _counted(profile: Profile, destination: str) -> Object:
    return {"metadata": route_facts(profile, destination)} if limited(profile) else {}


def _observed(rule: str, outcome: str) -> Object:
    facts: Object = {"filter_metadata": {"pointsman": {"observed": outcome}}}
    return _route(rule, {"route": {"cluster": OBSERVED, "timeout": "0s"}, "metadata": facts})


def _route(name: str, does: Object) -> Object:
    named: Object = {"name": name} if name else {}
    route = typed("envoy.config.route.v3.Route", **named, match={"prefix": ""}, **does)
    return {"action": extension("route", route)}
