"""What an application is told when its request does not leave: problem details (RFC 9457), no names of ours inside.

For gRPC the same text is the message, and Envoy makes the status: 403 is 7, 429 is 8, 503 is 14.
"""

from pointsman.dataplane.envoy import Json, Object
from pointsman.dataplane.identity import DECISION

# The proxy's own reasons not to have sent a request on: connection failed, no host, overflow, no cluster,
# upstream reset, time-out, overload. Their texts name addresses and devices.
UNREACHED: list[Json] = ["UF", "UH", "UO", "NC", "UC", "UR", "URX", "UT", "LR", "OM", "NFCF", "DPE", "UPE"]

TITLES = {
    400: ("malformed", "The request is ambiguous or broken"),
    403: ("denied", "The policy denies this request"),
    421: ("misdirected", "The connection does not go where the host name says"),
    503: ("unavailable", "There is no usable tunnel for this request"),
}


def compile_replies() -> Object:
    """Return the form of every answer that the proxy gives itself."""
    mappers: list[Json] = [
        _mapper(_status(429), "limited", "Too many requests", "a request limit is used up"),
        _mapper(
            {"response_flag_filter": {"flags": UNREACHED}},
            "unavailable",
            "There is no usable tunnel for this request",
            "the way out did not answer",
        ),
        *(_mapper(_status(code), kind, title, "%LOCAL_REPLY_BODY%") for code, (kind, title) in TITLES.items()),
    ]
    return {"mappers": mappers, "body_format": _body("refused", "The request was refused", "%RESPONSE_CODE_DETAILS%")}


def _mapper(condition: Object, kind: str, title: str, detail: str) -> Object:
    return {"filter": condition, "body_format_override": _body(kind, title, detail)}


def _status(code: int) -> Object:
    return {
        "status_code_filter": {
            "comparison": {"op": "EQ", "value": {"default_value": code, "runtime_key": f"pointsman.reply.{code}"}}
        }
    }


def _body(kind: str, title: str, detail: str) -> Object:
    return {
        "content_type": "application/problem+json",
        "json_format": {
            "type": f"urn:pointsman:{kind}",
            "title": title,
            "status": "%RESPONSE_CODE%",
            "detail": detail,
            "rule": "%ROUTE_NAME%",
            "decision": f"%FILTER_STATE({DECISION}:PLAIN)%",
        },
    }
