"""Request limits: which buckets there are, and what of a request says which of them it takes from.

The buckets belong to a filter for each profile, not to the leaves of the tree: a profile's limit counts whatever
leaf a request takes, and a new tree, a new tunnel, another identity or another profile's limit never refills one.
"""

from collections.abc import Iterable

from pointsman.dataplane.envoy import Json, Object, typed
from pointsman.model.profile import Profile, Rate

# Users that one profile's table holds. Beyond it the user that was idle longest is forgotten, which would
# refill that bucket: `bounded` keeps so many users from coming along within the time that it fills anyway.
MOST_USERS = 65536
PLENTY = 4294967295


def limited(profile: Profile) -> bool:
    """Return whether requests of this profile are counted at all."""
    limits = profile.limits
    return any(rate is not None for rate in (limits.profile, limits.per_user, limits.per_destination))


def compile_limits(profiles: Iterable[Profile], by_user: bool) -> dict[str, Object]:
    """Return the filters that hold the buckets, by name: one for each profile with a request limit.

    Without `by_user` there is no identity, and all requests count as those of one user.
    """
    counted = sorted((profile for profile in profiles if limited(profile)), key=lambda profile: profile.name)
    return {f"limits-{profile.name}": _limit(profile, by_user) for profile in counted}


def _limit(profile: Profile, by_user: bool) -> Object:
    always: Json = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    limits = profile.limits
    counted: list[list[Json]] = [[_of_route("profile")]]
    counted += [[_of_route("profile"), _user(by_user)]] if limits.per_user is not None else []
    counted += [[_of_route("profile"), _of_route("destination")]] if limits.per_destination is not None else []
    return typed(
        "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        stat_prefix="limits",
        filter_enabled=always,
        filter_enforced=always,
        always_consume_default_token_bucket=False,
        rate_limited_as_resource_exhausted=True,
        max_dynamic_descriptors=MOST_USERS,
        token_bucket={"max_tokens": PLENTY, "tokens_per_fill": PLENTY, "fill_interval": "1s"},
        # limits are whole requests per second, so a second is always enough for one more
        response_headers_to_add=[
            {"header": {"key": "retry-after", "value": "1"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        ],
        rate_limits=[{"actions": actions} for actions in counted],
        descriptors=list(_buckets(profile)),
    )


def route_facts(profile: Profile, destination: str) -> Object:
    """Return the metadata that a leaf carries so that its requests are counted."""
    return {"filter_metadata": {"pointsman": {"profile": profile.name, "destination": destination or "-"}}}


def _buckets(profile: Profile) -> Iterable[Object]:
    limits = profile.limits
    name: Json = {"key": "profile", "value": profile.name}
    total = limits.profile
    if limits.per_user is not None:
        total = bounded(total, limits.per_user)
        yield _bucket([name, {"key": "user", "value": ""}], limits.per_user)
    if limits.per_destination is not None:
        yield _bucket([name, {"key": "destination", "value": ""}], limits.per_destination)
    if total is not None:
        yield _bucket([name], total)


def bounded(total: Rate | None, per_user: Rate) -> Rate:
    """Return a limit for the profile under which a user's bucket is full again before its place is needed."""
    filling = max(1, -(-per_user.burst // per_user.per_second))
    most = Rate(max(1, MOST_USERS // 2 // filling), MOST_USERS // 2)
    if total is None:
        return most
    return Rate(min(total.per_second, most.per_second), min(total.burst, most.burst))


def _bucket(entries: list[Json], rate: Rate) -> Object:
    return {
        "entries": entries,
        "token_bucket": {"max_tokens": rate.burst, "tokens_per_fill": rate.per_second, "fill_interval": "1s"},
    }


def _of_route(key: str) -> Object:
    path: list[Json] = [{"key": key}]
    return {
        "metadata": {
            "descriptor_key": key,
            "metadata_key": {"key": "pointsman", "path": path},
            "source": "ROUTE_ENTRY",
        }
    }


def _user(by_user: bool) -> Object:
    if not by_user:
        return {"generic_key": {"descriptor_key": "user", "descriptor_value": "-"}}
    path: list[Json] = [{"key": "payload"}, {"key": "sub"}]
    return {
        "metadata": {
            "descriptor_key": "user",
            "metadata_key": {"key": "envoy.filters.http.jwt_authn", "path": path},
            "source": "DYNAMIC",
            "default_value": "-",
        }
    }
