"""All files that Envoy is run from: the same policy, lanes and entries always give the same bytes."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pointsman.dataplane.asking import asking_cluster
from pointsman.dataplane.bootstrap import compile_bootstrap
from pointsman.dataplane.clusters import compile_clusters
from pointsman.dataplane.entries import user_classes
from pointsman.dataplane.envoy import Json, Object, Settings, text, typed
from pointsman.dataplane.http import compile_filters
from pointsman.dataplane.leaves import Holders, Leaves, Nexts, Ways
from pointsman.dataplane.listeners import compile_listeners
from pointsman.dataplane.routes import compile_routes
from pointsman.dataplane.sharing import Shares
from pointsman.dataplane.users import Classes
from pointsman.model.entry import Entry
from pointsman.model.policy import Policy
from pointsman.model.profile import OnFailure, Who
from pointsman.model.tunnel import Lane
from pointsman.policy.diagram import Compiled


@dataclass(frozen=True, slots=True)
class Resource:
    """One file of resources and its version, the hash of what is in it."""

    version: str
    text: str


@dataclass(frozen=True, slots=True)
class EnvoyFiles:
    """What the proxy runs on. Rules and tunnels change `clusters` and `routes` only.

    Identity, claims and each profile's request limits are `filters` of their own. `listeners` follow the entries, the
    built-in attributes that are asked, whether there are an identity and raw paths, which profiles have limits, and
    whether one shares its connections.
    """

    bootstrap: str
    clusters: Resource
    filters: Mapping[str, Resource]
    listeners: Resource
    routes: Resource

    def named(self) -> Mapping[str, str]:
        """Return the text of each file by its name below the proxy's folder."""
        return {
            "bootstrap.json": self.bootstrap,
            "cds/cds.json": self.clusters.text,
            **{f"ecds/{name}.json": one.text for name, one in self.filters.items()},
            "lds/lds.json": self.listeners.text,
            "rds/rds.json": self.routes.text,
        }

    def versions(self) -> Mapping[str, str]:
        """Return the version of each kind of resources, and of each filter."""
        filters = {f"ecds/{name}": one.version for name, one in self.filters.items()}
        return {"cds": self.clusters.version, **filters, "lds": self.listeners.version, "rds": self.routes.version}


def compile_envoy(
    compiled: Compiled,
    ways: Ways,
    lanes: Iterable[Lane],
    entries: Iterable[Entry],
    settings: Settings,
    holders: Holders | None = None,
    routes: Resource | None = None,
    nexts: Nexts | None = None,
    shares: Shares | None = None,
) -> EnvoyFiles:
    """Return the files for this policy.

    `ways` holds each profile's lane now, or why it has none, and `holders` by profile those with one of their own;
    `nexts` are by a lane's cluster those that take over from it; `shares` are by profile those that share its
    connections; `lanes` are all that may carry traffic, those that still drain among them. With `routes` these stay as
    they are.
    """
    policy = compiled.policy
    ports = tuple(entries)
    usable = tuple(lane for lane in lanes if lane.sources)
    classes = user_classes(ports)
    known = _told_apart(policy, holders or {}, classes)
    leaves = Leaves(policy, ways, settings.observe, known, bool(settings.asked), nexts, shares)
    retried = frozenset(profile.name for profile in policy.profiles if profile.on_failure is OnFailure.NEXT)
    asking = [asking_cluster(settings.asked)] if settings.asked else []
    return EnvoyFiles(
        text(compile_bootstrap(settings)),
        _resource([*compile_clusters(usable, ports, settings.observe, retried), *asking]),
        {name: _resource([_filter(name, config)]) for name, config in compile_filters(policy).items()},
        _resource(compile_listeners(policy, ports, settings)),
        routes or _resource([compile_routes(compiled, leaves, Classes(classes))]),
    )


def _told_apart(policy: Policy, holders: Holders, classes: Mapping[int, int]) -> Holders:
    """Return the holders by what the proxy sees of them: users by their class; one without a class asks each time."""
    by_workload = {p.name for p in policy.profiles if p.holding is not None and p.holding.who is Who.WORKLOAD}
    return {
        profile: {
            str(classes[int(key)]) if profile in by_workload else key: lane
            for key, lane in lanes.items()
            if profile not in by_workload or int(key) in classes
        }
        for profile, lanes in holders.items()
    }


def _filter(name: str, config: Object) -> Object:
    return typed("envoy.config.core.v3.TypedExtensionConfig", name=name, typed_config=config)


def _resource(found: list[Object]) -> Resource:
    resources: Json = [*found]
    body = text(resources)
    version = hashlib.sha256(body.encode()).hexdigest()[:16]
    return Resource(version, f'{{"version_info":"{version}","resources":{body.rstrip()}}}\n')
