"""The compiled form of a condition says what the CEL runtime says of the condition as written."""

import os
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.model.attribute import Value
from pointsman.policy.evaluate import satisfied
from pointsman.policy.load import load
from pointsman.policy.runtime import Reader

CASES = int(os.environ.get("POINTSMAN_CASES", "400"))
HEAD = """\
apiVersion: pointsman/v1
kind: Policy
metadata: {name: test}
identity: {jwt: {issuer: i, audiences: [a], keys: k}}
attributes:
  user.name: {type: string, claim: sub, absent: anonymous}
  user.staff: {type: bool, claim: staff, absent: false}
  user.groups: {type: strings, claim: groups, absent: []}
  app.level: {type: int, header: x-level, trust: declared, absent: 0}
destinations:
  - {name: records, hosts: [records.example], addresses: [198.51.100.82], grpcPorts: [443]}
  - {name: public, hosts: [public.example], addresses: [198.51.100.80], grpcPorts: ["8000-9000"]}
catalogue:
  data.label:
    values: [open, secret, none]
    absent: none
    entries:
      - {destination: records, value: secret}
      - {destination: records, path: /v1, value: open}
      - {destination: records, path: /v1/x/, value: secret}
      - {destination: public, path: /v1, value: open}
operations:
  - {destination: public, method: POST, path: /v1/x, operation: read}
  - {grpc: pkg.Svc/*, operation: admin}
"""
KEYS = b'{"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]}'
NAMES = ("ann", "bob", "anonymous", "Ann", "a.b", "\u00e9t\u00e9")
PATHS = ("/", "/v1", "/v1x", "/v1/x", "/v1/x/y", "/pkg.Svc/GetUser", "/a.B/GetUser", "/a.B/DeleteUser", "/a.B/Make")
ADDRESSES = ("198.51.100.80", "198.51.100.82", "203.0.113.9", "2001:db8::1")
NETWORKS = ("198.51.100.0/24", "198.51.100.80/32", "2001:db8::/32", "0.0.0.0/0", "::/0")
PATTERNS = ("^a", "n$", "^ann$", "A", "[a-b]+", "a.*b", r"a\.b", "^[^n]*$", "^.+\u00e9$", "\u00e9", "(?i)ann", "")

CONTEXTS: st.SearchStrategy[Mapping[str, Value]] = st.fixed_dictionaries(
    {
        "request.protocol": st.sampled_from(("http", "grpc", "tcp")),
        "request.method": st.sampled_from(("GET", "POST", "DELETE", "PROPFIND")),
        "request.path": st.sampled_from(PATHS),
        "request.host": st.sampled_from(("records.example", "x.example")),
        "destination.name": st.sampled_from(("records", "public", "")),
        "destination.address": st.sampled_from(ADDRESSES),
        "destination.port": st.sampled_from((80, 443, 8443, 9000)),
        "process.uid": st.sampled_from((0, 64001)),
        "user.name": st.sampled_from(NAMES),
        "user.staff": st.booleans(),
        "user.groups": st.lists(st.sampled_from(("ops", "dev")), max_size=2).map(tuple),
        "app.level": st.sampled_from((-1, 0, 1, 2, 9007199254740991)),
    }
)


def quoted(text: str) -> st.SearchStrategy[str]:
    escaped = text.replace("\\", "\\\\")
    return st.sampled_from(
        (f'"{escaped}"', f"'{escaped}'", f'"""{escaped}"""', '"' + "".join(f"\\u{ord(one):04x}" for one in text) + '"')
    )


def one_of(values: tuple[str, ...]) -> st.SearchStrategy[str]:
    return st.sampled_from(values).flatmap(quoted)


def compared(attribute: str, values: tuple[str, ...]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("{} {} {}".format, st.just(attribute), st.sampled_from(("==", "!=")), one_of(values)),
        st.builds("{} == {}".format, one_of(values), st.just(attribute)),
        st.builds(lambda some: f"{attribute} in [{', '.join(some)}]", st.lists(one_of(values), min_size=1, max_size=3)),
    )


LEVELS = st.builds(
    "app.level {} {}".format,
    st.sampled_from(("==", "!=", "<", "<=", ">", ">=")),
    st.sampled_from((-9007199254740991, -1, 0, 1, 2, 9007199254740991)),
)
TESTS = st.one_of(
    compared("user.name", NAMES),
    compared("operation", ("read", "write", "delete", "admin", "connect", "other")),
    compared("data.label", ("open", "secret", "none")),
    compared("destination.name", ("records", "public")),
    compared("destination.address", ADDRESSES),
    compared("request.path", PATHS),
    st.builds("destination.address.within({})".format, one_of(NETWORKS)),
    st.builds("user.name.matches({})".format, one_of(PATTERNS)),
    st.builds(
        "user.name.{}({})".format,
        st.sampled_from(("startsWith", "endsWith", "contains")),
        one_of(("a", "n", "", "\u00e9")),
    ),
    st.builds("{} in user.groups".format, one_of(("ops", "dev"))),
    st.sampled_from(("user.staff", "user.staff == false", "true", "false")),
    LEVELS,
)
CONDITIONS = st.recursive(
    TESTS,
    lambda inner: st.one_of(
        st.builds("({} && {})".format, inner, inner),
        st.builds("({} || {})".format, inner, inner),
        st.builds("!({})".format, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
    ),
    max_leaves=8,
)


@settings(max_examples=CASES, deadline=None)
@given(condition=CONDITIONS, contexts=st.lists(CONTEXTS, min_size=1, max_size=20))
def test_the_boolean_form_agrees_with_the_cel_runtime(condition: str, contexts: list[Mapping[str, Value]]) -> None:
    # a condition that never holds is a problem of the policy, so each is asked beside one that may
    when = f"({condition}) || destination.port == 1"
    text = f"{HEAD}rules:\n- name: asked\n  when: |-\n    {when}\n  deny: true\n"
    loaded = load(text.encode(), "p.yaml", lambda _: KEYS)
    reader = Reader(loaded.policy, loaded.document)

    for context in contexts:
        assert satisfied(loaded.policy.rules[0].when, context) == (reader.first_match(context) == 0), context
