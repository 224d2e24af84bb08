"""The decision record of each request and each plain TCP flow: one line of JSON. Never a token, never a query.

What still runs is told, too, again and again in a file of its own, with all the facts that another policy could ask
about: whoever reads it can decide anew. A third file tells of each attempt that could not connect, also where another
lane has answered the request then; one that connects costs no line.
"""

from pointsman.dataplane.envoy import Json, Object, Settings, extension, typed
from pointsman.dataplane.identity import CLAIMS, DECISION, SUBJECT
from pointsman.model.attribute import Header, Type
from pointsman.model.policy import Policy

# How often a request or flow that still runs is told.
RUNNING = "2s"

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


# What an attempt met that could not connect: nothing in time, or an error of the path, of the origin or of this host.
_FAILED: Object = {
    "time": COMMON["time"],
    "destination": COMMON["destination"],
    "failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
}
_UNCONNECTED: Object = {"response_flag_filter": {"flags": ["UF"]}}


def http_log(settings: Settings, by_user: bool, noted: Object) -> list[Json]:
    """Return the logs of requests: those that ended, and those that run, with these headers and all claims."""
    request: Object = {
        "kind": "http",
        "decision": f"%FILTER_STATE({DECISION}:PLAIN)%",
        "rule": "%ROUTE_NAME%",
        # the cluster is the lane; reading its metadata costs as much as eight other fields
        "lane": "%UPSTREAM_CLUSTER%",
        "protocol": "%PROTOCOL%",
        "authority": "%REQ(:AUTHORITY)%",
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ)%",
    }
    ended: Object = {
        **request,
        "code": "%RESPONSE_CODE%",
        "grpc": "%GRPC_STATUS_NUMBER%",
        **({"user": SUBJECT} if by_user else {}),
        **({"observed": "%METADATA(ROUTE:pointsman:observed)%"} if settings.observe else {}),
        **COMMON,
    }
    running: Object = {
        **request,
        "content_type": "%REQ(CONTENT-TYPE)%",
        "headers": noted,
        **({"claims": CLAIMS} if by_user else {}),
        **COMMON,
    }
    return [
        _file(settings.access_log, ended, _told("DownstreamEnd")),
        _file(settings.running_log, running, _told("DownstreamPeriodic")),
    ]


def attempts_log(settings: Settings) -> list[Json]:
    """Return the log of each attempt of a request that could not connect."""
    return [_file(settings.attempts_log, {"lane": "%UPSTREAM_CLUSTER%", **_FAILED}, _UNCONNECTED)]


def tcp_log(settings: Settings) -> list[Json]:
    """Return the logs of plain TCP flows: those that ended, those that run, those that could not connect."""
    lane = "%METADATA(CLUSTER:pointsman:lane)%"
    record: Object = {"kind": "tcp", "decision": "%UNIQUE_ID%", "lane": lane, **COMMON}
    return [
        _file(settings.access_log, record, _told("TcpConnectionEnd")),
        _file(settings.running_log, record, _told("TcpPeriodic")),
        _file(
            settings.attempts_log,
            {"lane": lane, **_FAILED},
            {"and_filter": {"filters": [_told("TcpConnectionEnd"), _UNCONNECTED]}},
        ),
    ]


def noted(policy: Policy) -> Object:
    """Return the declared headers, which the running records tell: what no rule asks about now, the next policy may.

    Of a header on several lines Envoy would write the first alone, so that lists from headers are left out.
    """
    return {
        one.source.name: f"%REQ({one.source.name})%"
        for one in policy.attributes
        if isinstance(one.source, Header) and one.type is not Type.STRINGS
    }


def _told(when: str) -> Object:
    return {"log_type_filter": {"types": [when]}}


def _file(path: str, record: Object, which: Object) -> Object:
    log = extension(
        "envoy.access_loggers.file",
        typed("envoy.extensions.access_loggers.file.v3.FileAccessLog", path=path, log_format={"json_format": record}),
    )
    return {**log, "filter": which}
