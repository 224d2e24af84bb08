"""The listeners behind the entry ports: one that reads HTTP, one that never reads anything.

All entries share them. A listener whose addresses change loses the connections that wait in its sockets, so more ports
are listened on than are in use: users and lanes then come and go without that. What a port stands for is not written
here: the route tree reads the class of the user off the port, and a plain TCP flow goes to the cluster named after
its port, or nowhere if there is none.
"""

from collections.abc import Iterable

from pointsman.dataplane import accesslog
from pointsman.dataplane.clusters import entry_cluster
from pointsman.dataplane.entries import BASE, BLOCK, CLASSES
from pointsman.dataplane.envoy import Json, Object, Settings, extension, typed
from pointsman.dataplane.http import compile_http
from pointsman.model.entry import Entry, Mode
from pointsman.model.policy import Policy


def compile_listeners(policy: Policy, entries: Iterable[Entry], settings: Settings) -> list[Object]:
    """Return the listeners for these entries."""
    ports = tuple(entries)
    reading = [entry.port for entry in ports if entry.mode is not Mode.TCP]
    opaque = [entry.port for entry in ports if entry.mode is Mode.TCP]
    found = []
    if reading:
        found.append(_reading(policy, _with_spare(reading), any(entry.mode is Mode.AUTO for entry in ports), settings))
    if opaque:
        found.append(_listener("tcp", _with_spare(opaque), [], [_uncaptured(), _opaque(settings)], settings))
    return found


def _with_spare(ports: list[int]) -> list[int]:
    """Return these ports and spare ones: whole fours of classes, and whole eights of outcomes where there are any."""
    first, last = min(ports) // BLOCK, max(ports) // BLOCK
    outcomes = max(port % BLOCK for port in ports) + 1
    wide = outcomes if outcomes == 1 else min(BLOCK, -(-outcomes // 8) * 8)
    most = last if first * BLOCK == BASE else min(BASE // BLOCK + CLASSES, first + -(-(last - first + 1) // 4) * 4) - 1
    spare = {number * BLOCK + outcome for number in range(first, most + 1) for outcome in range(wide)}
    return sorted({*ports, *spare})


def _reading(policy: Policy, ports: list[int], auto: bool, settings: Settings) -> Object:
    http: Object = {"name": "http", "filters": [compile_http(policy, settings)]}
    if not auto:
        return _listener("http", ports, [], [_uncaptured(), http], settings)
    inspector = extension(
        "envoy.filters.listener.http_inspector",
        typed("envoy.extensions.filters.listener.http_inspector.v3.HttpInspector"),
    )
    http["filter_chain_match"] = {"application_protocols": ["http/1.0", "http/1.1", "h2c"]}
    return _listener("http", ports, [inspector], [_uncaptured(), http, _opaque(settings)], settings)


def _listener(
    name: str, ports: list[int], inspectors: list[Object], chains: list[Object], settings: Settings
) -> Object:
    hosts = ("127.0.0.1", "::1") if settings.ipv6 else ("127.0.0.1",)
    first, *others = [_socket(host, port) for port in ports for host in hosts]
    original = extension(
        "envoy.filters.listener.original_dst",
        typed("envoy.extensions.filters.listener.original_dst.v3.OriginalDst"),
    )
    additional: list[Json] = [{"address": address} for address in others]
    listening: list[Json] = [original, *inspectors]
    matching: list[Json] = [*chains]
    return typed(
        "envoy.config.listener.v3.Listener",
        name=name,
        address=first,
        **({"additional_addresses": additional} if additional else {}),
        stat_prefix=name,
        per_connection_buffer_limit_bytes=65536,
        listener_filters_timeout="5s",
        continue_on_listener_filters_timeout=False,
        max_connections_to_accept_per_socket_event=16,
        listener_filters=listening,
        filter_chains=matching,
    )


def _socket(host: str, port: int) -> Object:
    return {"socket_address": {"address": host, "port_value": port}}


def _uncaptured() -> Object:
    """Close what comes to an entry port by itself: its original destination is this host, never a way out."""
    local: list[Json] = [
        {"address_prefix": "127.0.0.0", "prefix_len": 8},
        {"address_prefix": "::1", "prefix_len": 128},
    ]
    return {"name": "uncaptured", "filter_chain_match": {"prefix_ranges": local}, "filters": []}


def _opaque(settings: Settings) -> Object:
    port = entry_cluster("%DOWNSTREAM_DIRECT_LOCAL_PORT%")
    choose = extension(
        "envoy.filters.network.set_filter_state",
        typed(
            "envoy.extensions.filters.network.set_filter_state.v3.Config",
            on_new_connection=[
                {
                    "object_key": "envoy.tcp_proxy.cluster",
                    "format_string": {"text_format_source": {"inline_string": port}},
                }
            ],
        ),
    )
    carry = extension(
        "envoy.filters.network.tcp_proxy",
        typed(
            "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            stat_prefix="opaque",
            cluster="refused",
            max_connect_attempts=1,
            idle_timeout="3600s",
            access_log=accesslog.tcp_log(settings),
            access_log_options={"access_log_flush_interval": accesslog.RUNNING},
        ),
    )
    return {"name": "opaque", "filters": [choose, carry]}
