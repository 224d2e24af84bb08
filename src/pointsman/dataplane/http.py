"""How HTTP is read: limits, clean-up of what the client sent, context, and the filters up to the route."""

from pointsman.dataplane import accesslog, headers
from pointsman.dataplane.asking import compile_asking
from pointsman.dataplane.envoy import Json, Object, Settings, discovered, extension, typed, watched
from pointsman.dataplane.identity import compile_identity, name_decision
from pointsman.dataplane.limits import compile_limits
from pointsman.dataplane.replies import compile_replies
from pointsman.model.policy import Policy

ROUTES = "egress"
# Removed from every request on entry: our own names, and those by which a client could steer Envoy.
FORBIDDEN = (headers.OWN, "x-envoy-")


def compile_http(policy: Policy, settings: Settings) -> Object:
    """Return the HTTP connection manager: the same for all entries, so that limits count over all of them."""
    raw = any(destination.raw_path for destination in policy.destinations)
    return extension(
        "envoy.filters.network.http_connection_manager",
        typed(
            "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            stat_prefix=ROUTES,
            codec_type="AUTO",
            **_reading(raw),
            **_protocols(),
            early_header_mutation_extensions=[_context(policy)],
            rds={"route_config_name": ROUTES, "config_source": watched(settings, "rds")},
            local_reply_config=compile_replies(),
            access_log=accesslog.http_log(settings, policy.identity is not None, accesslog.noted(policy)),
            access_log_options={"access_log_flush_interval": accesslog.RUNNING},
            http_filters=_filters(policy, settings),
        ),
    )


def _reading(raw: bool) -> Object:
    """Paths are made normal before anything looks at them, unless a destination needs its bytes as they are.

    Where one does, the route tree refuses paths that are not normal for every other destination.
    """
    return {
        "normalize_path": not raw,
        "merge_slashes": not raw,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED" if raw else "REJECT_REQUEST",
        "use_remote_address": True,
        "skip_xff_append": True,
        "forward_client_cert_details": "SANITIZE",
        "generate_request_id": False,
        "server_header_transformation": "PASS_THROUGH",
        "strip_trailing_host_dot": False,
        "proxy_100_continue": True,
        "stream_error_on_invalid_http_message": False,
        "max_request_headers_kb": 32,
        "request_headers_timeout": "5s",
        "request_timeout": "0s",
        "stream_idle_timeout": "300s",
        "delayed_close_timeout": "1s",
        "drain_timeout": "5s",
    }


def _protocols() -> Object:
    return {
        "common_http_protocol_options": {
            "idle_timeout": "300s",
            "max_connection_duration": "3600s",
            "max_headers_count": 64,
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        "http_protocol_options": {
            "accept_http_10": False,
            "allow_chunked_length": False,
            "enable_trailers": False,
            "allow_absolute_url": True,
        },
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 65536,
            "initial_connection_window_size": 1048576,
            "allow_connect": False,
            "max_outbound_frames": 10000,
            "max_outbound_control_frames": 1000,
            "max_consecutive_inbound_frames_with_empty_payload": 1,
            "max_inbound_priority_frames_per_stream": 100,
            "max_inbound_window_update_frames_per_data_frame_sent": 10,
        },
        "upgrade_configs": [{"upgrade_type": "websocket"}],
    }


def _context(policy: Policy) -> Object:
    removed: list[Json] = [{"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in FORBIDDEN]
    added: list[Json] = [
        {
            "append": {
                "header": {"key": name, "value": headers.SOURCES[name]},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        }
        for name in headers.needed(policy)
    ]
    return extension(
        "envoy.http.early_header_mutation.header_mutation",
        typed(
            "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            mutations=removed + added,
        ),
    )


def compile_filters(policy: Policy) -> dict[str, Object]:
    """Return the filters that have files of their own, by name, in their order."""
    return {**_identity(policy), **_limits(policy)}


def _identity(policy: Policy) -> dict[str, Object]:
    if policy.identity is None:
        return {}
    return compile_identity(policy.identity, headers.claims(policy), headers.json_claims(policy))


def _limits(policy: Policy) -> dict[str, Object]:
    return compile_limits(policy.profiles, policy.identity is not None)


def _filters(policy: Policy, settings: Settings) -> list[Json]:
    router = extension(
        "envoy.filters.http.router",
        typed(
            "envoy.extensions.filters.http.router.v3.Router",
            suppress_envoy_headers=True,
            dynamic_stats=False,
            upstream_log=accesslog.attempts_log(settings),
        ),
    )
    identity, limits = (
        [discovered(settings, name, config) for name, config in filters.items()]
        for filters in (_identity(policy), _limits(policy))
    )
    asking = compile_asking(policy)
    # limits come before asking: what is beyond them makes no tunnel
    return [*identity, name_decision(policy.identity is not None), *limits, *([asking] if asking else []), router]
