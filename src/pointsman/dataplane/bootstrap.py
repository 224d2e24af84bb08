"""What Envoy starts with: where its resources lie, its private admin socket, and when it refuses more work."""

from pointsman.dataplane.envoy import Json, Object, Settings, extension, typed, watched

HEAP = "envoy.resource_monitors.fixed_heap"
CONNECTIONS = "envoy.resource_monitors.global_downstream_max_connections"

# Refused under memory pressure, and from which share of the heap on.
LOAD_SHED = {
    "tcp_listener_accept": 0.95,
    "http_connection_manager_decode_headers": 0.95,
    "hcm_ondata_creating_codec": 0.95,
    "tcp_proxy_on_data": 0.97,
    "tcp_proxy_upstream_connect": 0.97,
    "connection_pool_new_connection": 0.97,
}


def compile_bootstrap(settings: Settings) -> Object:
    """Return the bootstrap configuration."""
    return {
        "node": {"id": settings.node, "cluster": "pointsman"},
        "admin": {"address": {"pipe": {"path": settings.admin, "mode": 0o600}}, "ignore_global_conn_limit": True},
        "dynamic_resources": {"cds_config": watched(settings, "cds"), "lds_config": watched(settings, "lds")},
        "overload_manager": _overload(settings),
        "layered_runtime": {
            "layers": [
                {
                    "name": "static",
                    "static_layer": {
                        "overload.premature_reset_total_stream_count": 500,
                        "overload.premature_reset_min_stream_lifetime_seconds": 1,
                        "http.max_requests_per_io_cycle": 10,
                        "envoy.reloadable_features.strict_chunk_parsing": True,
                    },
                }
            ]
        },
    }


def _overload(settings: Settings) -> Object:
    heap = typed(
        "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig", max_heap_size_bytes=settings.heap_bytes
    )
    connections = typed(
        "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        max_active_downstream_connections=settings.most_connections,
    )
    shed: list[Json] = [
        {"name": f"envoy.load_shed_points.{point}", "triggers": [_above(share)]} for point, share in LOAD_SHED.items()
    ]
    return {
        "refresh_interval": "0.25s",
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": 20},
        "resource_monitors": [extension(HEAP, heap), extension(CONNECTIONS, connections)],
        "actions": [
            _action("shrink_heap", _above(0.90)),
            _action("disable_http_keepalive", _above(0.92)),
            _action("stop_accepting_requests", _above(0.95)),
            {**_action("reduce_timeouts", _between(0.85, 0.95)), "typed_config": _timeouts()},
            _action("reset_high_memory_stream", _between(0.93, 0.98)),
        ],
        "loadshed_points": shed,
    }


def _action(name: str, trigger: Object) -> Object:
    return {"name": f"envoy.overload_actions.{name}", "triggers": [trigger]}


def _above(share: float) -> Object:
    return {"name": HEAP, "threshold": {"value": share}}


def _between(low: float, high: float) -> Object:
    return {"name": HEAP, "scaled": {"scaling_threshold": low, "saturation_threshold": high}}


def _timeouts() -> Object:
    return typed(
        "envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
        timer_scale_factors=[
            {"timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_timeout": "2s"},
            {"timer": "HTTP_DOWNSTREAM_STREAM_IDLE", "min_timeout": "10s"},
        ],
    )
