"""Lanes as Envoy clusters: whatever leaves by one is bound by mark, device and source address, or does not leave."""

import base64
from collections.abc import Iterable

from pointsman.dataplane.envoy import Json, Object, typed
from pointsman.model.entry import Entry
from pointsman.model.tunnel import Lane

OBSERVED = "observed"
SOL_SOCKET = 1
SO_BINDTODEVICE = 25
SO_MARK = 36
SOL_TCP = 6
TCP_USER_TIMEOUT = 18  # RFC 5482

# In seconds: when a connection counts as lost whose gateway or origin went silent. It also ends one whose origin takes
# nothing for as long, so it is no shorter.
SILENT = 20
_REQUESTS = 8192


def compile_clusters(
    lanes: Iterable[Lane],
    entries: Iterable[Entry],
    observe: bool = False,
    retried: frozenset[str] = frozenset(),
) -> list[Object]:
    """Return a cluster for each lane, and one for each entry whose plain TCP flows a lane carries.

    To observe takes one more, which is bound to nothing: what goes through it leaves as the host would have sent it.
    `retried` are the profiles whose requests may go again by the next lane.
    """
    by_name = {lane.cluster: lane for lane in sorted(lanes, key=lambda lane: lane.cluster)}
    bound = [_cluster(name, lane.cluster, _binding(lane), lane.profile in retried) for name, lane in by_name.items()]
    for entry in entries:
        if entry.lane in by_name:
            bound.append(_cluster(entry_cluster(entry.port), entry.lane, _binding(by_name[entry.lane])))
    return [*bound, _cluster(OBSERVED, OBSERVED, None)] if observe else bound


def entry_cluster(port: int | str) -> str:
    """Return the name of the cluster that carries the plain TCP flows of an entry port."""
    return f"entry-{port}"


def _cluster(name: str, lane: str, binding: Object | None, retried: bool = False) -> Object:
    bound: Object = {} if binding is None else {"upstream_bind_config": binding}
    return typed(
        "envoy.config.cluster.v3.Cluster",
        name=name,
        metadata={"filter_metadata": {"pointsman": {"lane": lane}}},
        type="ORIGINAL_DST",
        lb_policy="CLUSTER_PROVIDED",
        connect_timeout="3s",
        cleanup_interval="60s",
        per_connection_buffer_limit_bytes=65536,
        **bound,
        upstream_connection_options={"tcp_keepalive": {"keepalive_time": 10, "keepalive_interval": 5}},
        circuit_breakers={
            "thresholds": [
                {
                    "max_connections": 4096,
                    "max_pending_requests": 1024,
                    "max_requests": _REQUESTS,
                    # every request of a lane that dies goes again at once
                    "max_retries": _REQUESTS if retried else 0,
                    "track_remaining": True,
                }
            ]
        },
        typed_extension_protocol_options={
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                common_http_protocol_options={
                    "idle_timeout": "60s",
                    "max_headers_count": 100,
                    "max_response_headers_kb": 60,
                },
                # what came as HTTP/2 leaves as HTTP/2: gRPC needs it
                use_downstream_protocol_config={
                    "http_protocol_options": {},
                    "http2_protocol_options": {
                        "initial_stream_window_size": 65536,
                        "initial_connection_window_size": 1048576,
                    },
                },
            )
        },
    )


def _binding(lane: Lane) -> Object:
    first, *others = sorted(lane.sources, key=lambda source: (":" in source, source))
    extra: list[Json] = [{"address": {"address": source, "port_value": 0}} for source in others]
    device = base64.b64encode(lane.device.encode() + b"\0").decode()
    return {
        "source_address": {"address": first, "port_value": 0},
        **({"extra_source_addresses": extra} if extra else {}),
        "socket_options": [
            {"level": SOL_SOCKET, "name": SO_MARK, "int_value": lane.mark, "state": "STATE_PREBIND"},
            {"level": SOL_SOCKET, "name": SO_BINDTODEVICE, "buf_value": device, "state": "STATE_PREBIND"},
            {"level": SOL_TCP, "name": TCP_USER_TIMEOUT, "int_value": SILENT * 1000, "state": "STATE_PREBIND"},
        ],
    }
