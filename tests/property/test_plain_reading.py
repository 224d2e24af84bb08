"""`decide()` over the diagram says what the plain reading of the rules by the CEL runtime says.

Where every fact is known both give the same rule. Where some are absent, `decide()` may refuse what plain reading
would allow after trying values one by one, but never the other way round.
"""

import os
from collections.abc import Mapping

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pointsman.model.attribute import Value
from pointsman.model.context import Context
from pointsman.model.decision import Permit
from pointsman.model.problem import Invalid
from pointsman.policy.decide import decide
from pointsman.policy.derive import is_below
from pointsman.policy.diagram import Compiled, compile_policy
from pointsman.policy.load import Loaded, load
from pointsman.policy.runtime import Reader

CASES = int(os.environ.get("POINTSMAN_CASES", "300"))
HEAD = """\
apiVersion: pointsman/v1
kind: Policy
metadata: {name: test}
identity: {jwt: {issuer: i, audiences: [a], keys: k}}
attributes:
  user.name: {type: string, claim: sub, absent: anonymous}
  user.role: {type: string, claim: role, values: [admin, clerk], absent: deny}
  user.staff: {type: bool, claim: staff, absent: deny}
  user.groups: {type: strings, claim: groups, absent: []}
  app.level: {type: int, header: x-level, trust: declared, absent: 0}
destinations:
  - {name: records, hosts: [records.example], addresses: [198.51.100.82], grpcPorts: [443]}
  - {name: public, hosts: [public.example], addresses: [198.51.100.80]}
catalogue:
  data.label:
    values: [open, secret]
    absent: deny
    entries:
      - {destination: records, value: secret}
      - {destination: records, path: /v1, value: open}
      - {destination: public, path: /v1, value: open}
operations:
  - {destination: public, method: POST, path: /v1/x, operation: read}
profiles:
  - {name: a, encryption: none}
  - {name: b, encryption: strong}
rules:
"""
KEYS = b'{"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]}'
TESTS = st.sampled_from(
    (
        'user.name == "ann"',
        'user.name in ["ann", "bob"]',
        'user.name.startsWith("a")',
        'user.name.matches("n$")',
        'user.role == "admin"',
        'user.role != "clerk"',
        "user.staff",
        "app.level >= 2",
        "app.level < 1",
        '"ops" in user.groups',
        'operation == "read"',
        'operation in ["write", "delete"]',
        'operation == "connect"',
        'data.label == "open"',
        'data.label == "secret"',
        'destination.name == "records"',
        'destination.address.within("198.51.100.80/31")',
        "destination.port == 443",
        'request.path.startsWith("/v1/")',
        'request.method == "GET"',
        'request.protocol != "tcp"',
    )
)
CONDITIONS = st.recursive(
    TESTS,
    lambda inner: st.one_of(
        st.builds("({} && {})".format, inner, inner),
        st.builds("({} || {})".format, inner, inner),
        st.builds("!({})".format, inner),
    ),
    max_leaves=5,
)
RULES = st.lists(
    st.tuples(CONDITIONS, st.sampled_from(("profile: a", "profile: b", "deny: true"))), min_size=1, max_size=5
)
FACTS: st.SearchStrategy[Mapping[str, Value]] = st.fixed_dictionaries(
    {
        "destination.name": st.sampled_from(("records", "public", "")),
        "destination.address": st.sampled_from(("198.51.100.80", "198.51.100.82", "2001:db8::1")),
        "destination.port": st.sampled_from((80, 443)),
        "process.uid": st.just(64001),
        "user.groups": st.sampled_from((("ops",), ("dev", "ops"), ("dev",))),
    },
    optional={
        "user.name": st.sampled_from(("ann", "bob", "eve", "anonymous")),
        "user.role": st.sampled_from(("admin", "clerk", "boss")),
        "user.staff": st.booleans(),
        "app.level": st.sampled_from((-1, 0, 1, 2, 3)),
    },
)
WEB: st.SearchStrategy[Mapping[str, Value]] = st.fixed_dictionaries(
    {
        "request.protocol": st.sampled_from(("http", "grpc")),
        "request.method": st.sampled_from(("GET", "POST", "DELETE", "PROPFIND")),
        "request.path": st.sampled_from(("/", "/v1", "/v1x", "/v1/x", "/p.S/GetUser", "/p.S/DeleteUser", "/p.S/Make")),
        "request.host": st.just("records.example"),
    }
)
TCP: st.SearchStrategy[Mapping[str, Value]] = st.just({"request.protocol": "tcp"})
CANDIDATES: Mapping[str, tuple[Value, ...]] = {
    "request.method": ("GET", "POST"),
    "request.path": ("/", "/v1", "/v1/x", "/v1/z"),
    "request.host": ("x.example",),
    "user.staff": (True, False),
}


def compiled(rules: list[tuple[str, str]]) -> tuple[Loaded, Compiled]:
    lines = [f"- {{name: r{n}, when: '{when}', {outcome}}}" for n, (when, outcome) in enumerate(rules)]
    text = HEAD + "\n".join(lines) + "\n"
    try:
        loaded = load(text.encode(), "p.yaml", lambda _: KEYS)
    except Invalid as invalid:
        assume(any(problem.label != "unreachable-rule" for problem in invalid.problems))
        raise
    return loaded, compile_policy(loaded.policy)


# a place whose label the catalogue knows
KNOWN_PLACE: tuple[Mapping[str, Value], Mapping[str, Value]] = (
    {
        "destination.name": "public",
        "destination.address": "198.51.100.80",
        "destination.port": 80,
        "process.uid": 64001,
        "user.groups": ("ops",),
        "user.role": "clerk",
        "user.staff": False,
    },
    {"request.protocol": "http", "request.method": "GET", "request.path": "/v1", "request.host": "records.example"},
)


@settings(max_examples=CASES, deadline=None)
@example(rules=[('data.label == "secret"', "profile: a")], requests=[KNOWN_PLACE])
@given(rules=RULES, requests=st.lists(st.tuples(FACTS, st.one_of(WEB, TCP)), min_size=1, max_size=10))
def test_deciding_is_plain_reading(
    rules: list[tuple[str, str]], requests: list[tuple[Mapping[str, Value], Mapping[str, Value]]]
) -> None:
    loaded, diagram = compiled(rules)
    reader = Reader(loaded.policy, loaded.document)

    for known, asked in requests:
        facts = {**known, **asked}
        decision = decide(diagram, Context(facts))
        expected = reader.decide(facts, CANDIDATES)
        profile = decision.profile if isinstance(decision, Permit) else None
        if isinstance(decision, Permit) or not decision.absent:
            assert profile == expected.profile, facts
        if complete(facts):
            assert decision.rule == expected.rule, facts


def complete(facts: Mapping[str, Value]) -> bool:
    """Say whether nothing is absent. Where something is, which of several rules with one outcome is named is open."""
    label = facts["destination.name"] == "records" or (
        facts["destination.name"] == "public" and is_below(str(facts.get("request.path", "")), "/v1")
    )
    return label and "request.path" in facts and facts.get("user.role", "boss") != "boss" and "user.staff" in facts
