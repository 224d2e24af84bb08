"""The settings of Envoy that docs/security.md promises, whatever the policy."""

import json
from collections.abc import Iterator

import pytest

from pointsman.dataplane import entries
from pointsman.dataplane.envoy import Settings
from pointsman.dataplane.resources import compile_envoy
from pointsman.model.entry import Mode
from pointsman.model.formula import TRUE
from pointsman.model.policy import Destination, Identity, Policy, Rule
from pointsman.model.problem import Place
from pointsman.model.profile import Level, Profile
from pointsman.model.tunnel import Lane
from pointsman.policy.diagram import compile_policy

LANE = Lane("fast", "a", 0x00200000, "eth0", ("192.0.2.10",))
IDENTITY = Identity("authorization", "Bearer ", "https://id.example", ("pointsman",), '{"keys":[]}', True)


def policy(raw: bool = False, identity: Identity | None = IDENTITY) -> Policy:
    return Policy(
        name="hard",
        version="1",
        attributes=(),
        destinations=(Destination("store", ("store.example",), ("198.51.100.80/32",), raw_path=raw),),
        profiles=(Profile("fast", Level.NONE),),
        rules=(Rule("all", TRUE, "fast", "", Place()),),
        identity=identity,
    )


def files(of: Policy, observe: bool = False) -> dict[str, str]:
    ports = entries.plan({2001}, [LANE.cluster], Mode)
    settings = Settings("/f", "/s", "/s/decisions.log", observe=observe)
    return dict(compile_envoy(compile_policy(of), {"fast": LANE}, (LANE,), ports, settings).named())


def found(value: object, key: str) -> Iterator[object]:
    """Yield every value of this key, however deep it lies."""
    if isinstance(value, dict):
        yield from (item for name, item in value.items() if name == key)
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from found(item, key)


PROMISED = {
    "ecds/identity.json": {"require_expiration": True},
    "bootstrap.json": {
        "pipe": {"path": "/s/admin.sock", "mode": 0o600},
        "max_heap_size_bytes": 1 << 30,
        "max_active_downstream_connections": 8000,
        "overload.premature_reset_total_stream_count": 500,
        "envoy.reloadable_features.strict_chunk_parsing": True,
    },
    "lds/lds.json": {
        "continue_on_listener_filters_timeout": False,
        "listener_filters_timeout": "5s",
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "headers_with_underscores_action": "REJECT_REQUEST",
        "use_remote_address": True,
        "skip_xff_append": True,
        "forward_client_cert_details": "SANITIZE",
        "generate_request_id": False,
        "strip_trailing_host_dot": False,
        "stream_error_on_invalid_http_message": False,
        "max_request_headers_kb": 32,
        "max_headers_count": 64,
        "request_headers_timeout": "5s",
        "stream_idle_timeout": "300s",
        "max_connection_duration": "3600s",
        "accept_http_10": False,
        "allow_chunked_length": False,
        "allow_connect": False,
        "max_concurrent_streams": 100,
        "suppress_envoy_headers": True,
        "max_connect_attempts": 1,
    },
    "cds/cds.json": {
        "connect_timeout": "3s",
        "max_retries": 0,
        "max_response_headers_kb": 60,
        "max_headers_count": 100,
        "per_connection_buffer_limit_bytes": 65536,
    },
}


@pytest.mark.parametrize(("file", "key"), [(file, key) for file, settings in PROMISED.items() for key in settings])
def test_a_promised_setting_is_the_same_wherever_it_occurs(file: str, key: str) -> None:
    values = list(found(json.loads(files(policy())[file]), key))

    assert values
    assert all(value == PROMISED[file][key] for value in values), values


@pytest.mark.parametrize("observe", [False, True])
def test_nothing_is_asked_of_others_mirrored_retried_or_let_through_on_error(observe: bool) -> None:
    every = "".join(files(policy(), observe).values())

    for word in (
        "remote_jwks",
        "retry_policy",
        "request_mirror_policies",
        "internal_redirect_policy",
        "admin_layer",
        "rtds_layer",
        "failure_mode_allow",
        "default_filter_chain",
        "connect_matcher",
        "dynamic_forward_proxy",
        "use_http_header",
        "from_params",
    ):
        assert word not in every, word


def test_a_token_is_taken_from_one_place_only() -> None:
    verifier = json.loads(files(policy())["ecds/identity.json"])

    assert {json.dumps(value) for value in found(verifier, "from_headers")} == {
        '[{"name": "authorization", "value_prefix": "Bearer "}]'
    }


def test_what_a_client_sends_in_our_name_or_envoys_is_removed_first() -> None:
    listeners = json.loads(files(policy(identity=None))["lds/lds.json"])

    for mutations in found(next(found(listeners, "early_header_mutation_extensions")), "mutations"):
        assert isinstance(mutations, list)
        assert mutations[:2] == [
            {"remove_on_match": {"key_matcher": {"prefix": "x-pointsman-"}}},
            {"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}},
        ]


def test_paths_stay_as_they_are_only_where_a_destination_needs_it() -> None:
    """And then the route tree refuses, for every other destination, what is not normal."""
    raw, normal = files(policy(raw=True)), files(policy())

    assert set(found(json.loads(raw["lds/lds.json"]), "normalize_path")) == {False}
    assert ["not in its normal form" in one["rds/rds.json"] for one in (raw, normal)] == [True, False]
