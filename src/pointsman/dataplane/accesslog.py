"""The decision record of each request and each plain TCP flow: one line of JSON. Never a token, never a query."""

from pointsman.dataplane.envoy import Json, Object, Settings, extension, typed
from pointsman.dataplane.identity import DECISION, SUBJECT

COMMON: Object = {
    "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "client": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
    "source": "%UPSTREAM_LOCAL_ADDRESS%",
    "destination": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "entry": "%DOWNSTREAM_DIRECT_LOCAL_PORT%",
    "received": "%BYTES_RECEIVED%",
    "sent": "%BYTES_SENT%",
    "milliseconds": "%DURATION%",
}


def http_log(settings: Settings, by_user: bool) -> list[Json]:
    """Return the log of requests."""
    record: Object = {
        "kind": "http",
        "decision": f"%FILTER_STATE({DECISION}:PLAIN)%",
        "rule": "%ROUTE_NAME%",
        # the cluster is the lane; reading its metadata costs as much as eight other fields
        "lane": "%UPSTREAM_CLUSTER%",
        "protocol": "%PROTOCOL%",
        "authority": "%REQ(:AUTHORITY)%",
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ)%",
        "code": "%RESPONSE_CODE%",
        "grpc": "%GRPC_STATUS_NUMBER%",
        **({"user": SUBJECT} if by_user else {}),
        **({"observed": "%METADATA(ROUTE:pointsman:observed)%"} if settings.observe else {}),
        **COMMON,
    }
    return [_file(settings, record)]


def tcp_log(settings: Settings) -> list[Json]:
    """Return the log of plain TCP flows."""
    record: Object = {
        "kind": "tcp",
        "decision": "%UNIQUE_ID%",
        "lane": "%METADATA(CLUSTER:pointsman:lane)%",
        **COMMON,
    }
    return [_file(settings, record)]


def _file(settings: Settings, record: Object) -> Object:
    return extension(
        "envoy.access_loggers.file",
        typed(
            "envoy.extensions.access_loggers.file.v3.FileAccessLog",
            path=settings.access_log,
            log_format={"json_format": record},
        ),
    )
