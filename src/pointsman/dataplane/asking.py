"""Requests of holders that have no tunnel yet: they are held while the agent is asked, and leave by its answer.

The answer is one header that names the cluster. It is removed from what a client sends, so without an answer there is
no way. The filter does nothing but on routes that ask; it cannot be left out for others, since which route it is shows
only when the token was verified, and the filters are chosen before.
"""

from collections.abc import Iterable

from pointsman.dataplane import headers
from pointsman.dataplane.envoy import Json, Object, extension, typed
from pointsman.model.policy import Policy
from pointsman.policy.holding import holder_attributes

FILTER = "envoy.filters.http.ext_authz"
CLUSTER = "asking"
TUNNEL = headers.OWN + "tunnel"

# Beyond the longest wait of any profile the agent itself has answered
_MARGIN = 1.0
# How many requests may be held at once, the rest gets 503: as many as a node may have holders at most
_HELD = 512


def compile_asking(policy: Policy) -> Object | None:
    """Return the filter that holds requests and asks; None where no profile has holders."""
    holdings = [profile.holding for profile in policy.profiles if profile.holding is not None]
    if not holdings:
        return None
    told: list[Json] = [{"exact": name} for name in holder_headers(policy)]
    config = typed(
        "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
        transport_api_version="V3",
        grpc_service={
            "envoy_grpc": {"cluster_name": CLUSTER},
            "timeout": f"{max(holding.wait for holding in holdings) + _MARGIN:g}s",
        },
        failure_mode_allow=False,
        status_on_error={"code": "ServiceUnavailable"},
        # the tree is walked again, and the route finds its cluster in the answer
        clear_route_cache=True,
        # two users whose names are no ASCII must not look alike
        encode_raw_headers=True,
        allowed_headers={"patterns": told or [{"exact": TUNNEL}]},
        validate_mutations=True,
        decoder_header_mutation_rules={
            "disallow_all": True,
            "allow_expression": {"google_re2": {}, "regex": TUNNEL},
            "disallow_is_error": True,
        },
    )
    return extension(FILTER, config)


def asking_nowhere() -> Object:
    """Return what switches the filter off for all routes that do not say otherwise."""
    return {FILTER: typed("envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute", disabled=True)}


def asking_route(rule: str, profile: str) -> Object:
    """Return the parts of a route whose requests are held until the agent has named their cluster."""
    asked = typed(
        "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
        check_settings={"context_extensions": {"rule": rule, "profile": profile}},
    )
    return {"route": {"cluster_header": TUNNEL, "timeout": "0s"}, "typed_per_filter_config": {FILTER: asked}}


def asking_cluster(socket: str) -> Object:
    """Return the cluster of the agent's socket."""
    endpoint: Json = {"endpoint": {"address": {"pipe": {"path": socket}}}}
    return typed(
        "envoy.config.cluster.v3.Cluster",
        name=CLUSTER,
        type="STATIC",
        connect_timeout="1s",
        circuit_breakers={"thresholds": [{"max_requests": _HELD, "max_pending_requests": _HELD}]},
        load_assignment={"cluster_name": CLUSTER, "endpoints": [{"lb_endpoints": [endpoint]}]},
        typed_extension_protocol_options={
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                explicit_http_config={"http2_protocol_options": {}},
            )
        },
    )


def holder_headers(policy: Policy) -> Iterable[str]:
    """Return the headers that tell holders apart."""
    found = (headers.header_of(attribute) for attribute in holder_attributes(policy))
    return tuple(sorted({name for name in found if name is not None}))
