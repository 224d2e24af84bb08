"""Requests that a dying tunnel did not answer: which may be sent again, and by which lanes of the same profile.

What is idempotent (RFC 9110, 9.2.2) goes again as long as no byte of a response was seen; everything else only where
none of it was sent. Each attempt has a lane of its own, the last one no other behind it.
"""

from collections.abc import Iterable

from pointsman.dataplane.envoy import Json, Object, extension, typed
from pointsman.dataplane.inputs import header_input
from pointsman.model.tunnel import Lane

IDEMPOTENT = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")
_UNSENT = "connect-failure,refused-stream,reset-before-request"
_UNANSWERED = f"reset,{_UNSENT}"
_SPECIFIER = "envoy.extensions.router.cluster_specifiers.priority_group.v3.PriorityGroupClusterSpecifier"


def by_method(idempotent: Object, others: Object) -> Object:
    """Return the look-up of the method that parts what may be sent twice from what may not."""
    table: Object = dict.fromkeys(IDEMPOTENT, idempotent)
    tree: Object = {"input": header_input(":method"), "exact_match_map": {"map": table}}
    return {"matcher": {"matcher_tree": tree, "on_no_match": others}}


def in_turn(lanes: Iterable[Lane], idempotent: bool) -> Object:
    """Return the route action that tries these lanes, one after the other."""
    clusters = [lane.cluster for lane in lanes]
    groups: list[Json] = [{"name": name, "clusters": [{"cluster_name": name, "weight": 1}]} for name in clusters]
    return {
        "inline_cluster_specifier_plugin": {
            "extension": extension(
                "envoy.router.cluster_specifier_plugin.priority_group", typed(_SPECIFIER, priority_groups=[*groups])
            )
        },
        "retry_policy": {
            "retry_on": _UNANSWERED if idempotent else _UNSENT,
            "num_retries": len(clusters) - 1,
            "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.010s"},
            "refresh_cluster_on_retry": True,
        },
        "timeout": "0s",
    }
