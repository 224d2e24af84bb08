"""Users from verified tokens: the filters that check the token and hand its claims to the route tree.

Claims become headers only here, after every header of such a name was removed from the request. A token that
is missing, foreign or wrong gives no claims and is no error: the tree decides without a user.
"""

from pointsman.dataplane.envoy import Json, Object, extension, typed
from pointsman.dataplane.headers import claim_header, json_header
from pointsman.model.policy import Identity

JWT = "envoy.filters.http.jwt_authn"
CLAIMS = f"%DYNAMIC_METADATA({JWT}:payload)%"
SUBJECT = f"%DYNAMIC_METADATA({JWT}:payload:sub)%"
DECISION = "pointsman.decision"


def compile_identity(identity: Identity, claims: tuple[str, ...], as_json: tuple[str, ...]) -> dict[str, Object]:
    """Return the filters by name, in their order.

    The verifier writes `claims` as text, lists and objects in Base64. Those of `as_json` come a second time, lists and
    objects as JSON and the rest as before: where both begin alike, the claim is a text.
    """
    return {"identity": _verify(identity, claims), "claims": _publish(as_json)}


def name_decision(by_user: bool) -> Object:
    """Return the filter that names the decision; `by_user` it has the route chosen anew, now that claims are known."""
    decision: Json = {
        "object_key": DECISION,
        "factory_key": "envoy.string",
        "format_string": {"text_format_source": {"inline_string": "%UNIQUE_ID%"}},
    }
    return extension(
        "envoy.filters.http.set_filter_state",
        typed(
            "envoy.extensions.filters.http.set_filter_state.v3.Config",
            on_request_headers=[decision],
            **({"clear_route_cache": True} if by_user else {}),
        ),
    )


def _verify(identity: Identity, claims: tuple[str, ...]) -> Object:
    published: list[Json] = [{"header_name": claim_header(claim), "claim_name": claim} for claim in claims]
    audiences: list[Json] = list(identity.audiences)
    provider: Object = {
        "issuer": identity.issuer,
        "audiences": audiences,
        "from_headers": [{"name": identity.header, **_prefix(identity.prefix)}],
        "local_jwks": {"inline_string": identity.keys},
        "forward": identity.forward,
        "require_expiration": True,
        "clock_skew_seconds": identity.skew,
        "payload_in_metadata": "payload",
        "claim_to_headers": published,
        "jwt_cache_config": {"jwt_cache_size": 1000},
    }
    anyone: list[Json] = [{"provider_name": "identity"}, {"allow_missing_or_failed": {}}]
    return typed(
        "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        providers={"identity": provider},
        rules=[{"match": {"prefix": ""}, "requires": {"requires_any": {"requirements": anyone}}}],
    )


def _prefix(prefix: str) -> Object:
    return {"value_prefix": prefix} if prefix else {}


def _publish(claims: tuple[str, ...]) -> Object:
    mutations: list[Json] = [
        {
            "append": {
                "header": {"key": json_header(claim), "value": f"%DYNAMIC_METADATA({JWT}:payload:{claim})%"},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        }
        for claim in claims
    ]
    return typed(
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
        mutations={"request_mutations": mutations},
    )
