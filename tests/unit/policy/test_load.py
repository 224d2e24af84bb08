"""A whole policy file: what is loaded, and every problem with its place and hint."""

import json
from pathlib import Path

import pytest

from pointsman.model.attribute import AbsentDeny, AbsentValue, Attribute, Claim, Header, NodeFact, Type
from pointsman.model.fault import Fault
from pointsman.model.policy import Destination, Identity
from pointsman.model.problem import Invalid, Place
from pointsman.model.profile import Level, Limits, OnFailure, Profile, Qos, Rate, Selector
from pointsman.policy.load import Loaded, load

KEYS = {"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "one"}]}
HEAD = "apiVersion: pointsman/v1\nkind: Policy\nmetadata: {name: test}\n"
IDENTITY = "identity: {jwt: {issuer: https://id.example, audiences: [pointsman], keys: keys.json}}\n"
PROFILE = "profiles: [{name: open, encryption: none}]\n"


def keys(path: str) -> bytes:
    if path != "keys.json":
        raise Fault("file", f"read {path}", "no such file")
    return json.dumps(KEYS).encode()


def loaded(body: str) -> Loaded:
    return load((HEAD + body).encode(), "p.yaml", keys)


def problems(body: str, head: str = HEAD) -> list[str]:
    with pytest.raises(Invalid) as caught:
        load((head + body).encode(), "p.yaml", keys)
    offset = head.count("\n")
    return [
        f"{problem.place.line - offset}:{problem.place.column} {problem.label}: {problem.what}"
        for problem in caught.value.problems
    ]


def test_the_smallest_policy_denies_everything() -> None:
    policy = loaded("").policy

    assert [(rule.name, rule.profile, rule.source) for rule in policy.rules] == [("default", None, "true")]


def test_a_policy_becomes_what_its_words_say() -> None:
    policy = loaded(
        IDENTITY
        + """
attributes:
  user.name: {type: string, claim: sub, absent: deny}
  user.groups: {type: strings, claim: groups, absent: []}
  data.tenant: {type: string, header: X-Tenant, trust: declared, absent: none, values: [a, b]}
  node.site: {type: string, node: site, absent: unknown}
destinations:
  - name: api
    hosts: [API.example, "*.api.example"]
    addresses: [198.51.100.7, "2001:DB8::/32"]
    ports: [443, "80-81", 82]
  - {name: any, hosts: [any.example], anyAddress: true, rawPath: true}
profiles:
  - name: vault
    encryption: quantum
    dedicated: true
    select: {labels: {b: "2", a: "1"}, names: [wg-a]}
    qos: interactive
    limits: {requests: {rate: 5, burst: 10}, perUser: {rate: 2}, bandwidth: 10Mbit}
    onFailure: next
rules:
  - {name: one, when: user.name == "ann", profile: vault}
  - {name: two, when: 'node.site == "x"', deny: true}
default: {profile: vault}
"""
    ).policy

    assert policy.attributes[8:] == (
        Attribute("user.name", Type.STRING, Claim("sub"), AbsentDeny()),
        Attribute("user.groups", Type.STRINGS, Claim("groups"), AbsentValue(())),
        Attribute("data.tenant", Type.STRING, Header("x-tenant"), AbsentValue("none"), ("a", "b")),
        Attribute("node.site", Type.STRING, NodeFact(), AbsentValue("unknown")),
    )
    assert policy.destinations == (
        Destination(
            "api",
            ("api.example", "*.api.example"),
            ("198.51.100.7/32", "2001:db8::/32"),
            ((80, 82), (443, 443)),
        ),
        Destination("any", ("any.example",), any_address=True, raw_path=True),
    )
    assert policy.profiles == (
        Profile(
            "vault",
            Level.QUANTUM,
            Selector((("a", "1"), ("b", "2")), ("wg-a",)),
            True,
            Qos.INTERACTIVE,
            Limits(Rate(5, 10), Rate(2, 2), None, 10_000_000),
            OnFailure.NEXT,
        ),
    )
    assert [(rule.name, rule.profile) for rule in policy.rules] == [
        ("one", "vault"),
        ("two", None),
        ("default", "vault"),
    ]
    assert policy.rules[0].place == Place("p.yaml", 26, 5)
    assert policy.identity == Identity(
        "authorization", "Bearer ", "https://id.example", ("pointsman",), json.dumps(KEYS, sort_keys=True), True
    )


def test_a_header_of_its_own_for_the_token_has_no_prefix_and_is_removed() -> None:
    identity = loaded(IDENTITY.replace("{issuer", "{header: X-Id, issuer")).policy.identity

    assert identity is not None
    assert (identity.header, identity.prefix, identity.forward) == ("x-id", "", False)


def test_the_version_is_that_of_the_content_not_of_the_writing() -> None:
    body = PROFILE + "rules:\n- {name: a, when: 'destination.port == 80', profile: open}\n"

    assert loaded(body).policy.version == loaded("# words\n" + body.replace("{name", "{ name")).policy.version
    assert loaded(body).policy.version != loaded(body.replace("80", "81")).policy.version


def rules(*lines: str) -> str:
    return PROFILE + "rules:\n" + "".join(f"- {line}\n" for line in lines)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("destinatoins: []\n", ["1:1 unknown-field: unknown field `destinatoins`"]),
        ("rules: 3\n", ["1:8 wrong-type: expected a list for `rules`, found the number `3`"]),
        ("rules: [3]\n", ["1:9 wrong-type: expected a mapping for `rules`, found the number `3`"]),
        (
            rules("{name: a, when: 'process.uid == 1', profil: open}"),
            [
                "3:39 unknown-field: unknown field `profil`",
            ],
        ),
        (
            rules("{name: a, when: 'process.uid == 1'}"),
            ["3:3 outcome: the rule says neither what is allowed nor what is denied"],
        ),
        (
            rules("{name: a, when: 'process.uid == 1', profile: open, deny: true}"),
            ["3:3 outcome: the rule both names a profile and denies"],
        ),
        ("default: {}\n", ["1:10 outcome: the rule says neither what is allowed nor what is denied"]),
        ("default: {profile: opn}\n" + PROFILE, ["1:20 unknown-profile: there is no profile `opn`"]),
        (
            rules("{name: a, when: 'process.uid == 1', profile: opn}"),
            ["3:48 unknown-profile: there is no profile `opn`"],
        ),
        (
            rules("{name: a, when: 'process.uid == 1', deny: true}", "{name: a, when: 'process.uid == 2', deny: true}"),
            ["4:10 duplicate-name: rule `a` is declared twice"],
        ),
        (
            rules("{name: default, when: 'process.uid == 1', deny: true}"),
            ["3:10 reserved-name: `default` is the name of the last rule"],
        ),
        (
            rules('{name: "a\\r\\nb", when: true, deny: true}'),
            ["3:10 malformed: text `a\\r\\nb` does not fit here"],
        ),
        (
            "profiles: [{name: p, encryption: none}, {name: p, encryption: none}]\n",
            ["1:48 duplicate-name: profile `p` is declared twice"],
        ),
        (
            "profiles: [{name: p, encryption: weak}]\n",
            [
                "1:34 unknown-value: `encryption` is `none`, `encrypted`, `strong` or `quantum`, found the text `weak`",
            ],
        ),
        (
            "profiles: [{name: p, encryption: none, limits: {requests: {rate: 0}, bandwidth: 1kbit}}]\n",
            ["1:66 malformed: `rate` is at least 1"],
        ),
        (
            "profiles: [{name: p, encryption: none, limits: {bandwidth: 1kbit}}]\n",
            ["1:60 bandwidth: `1kbit` is not between 8kbit and 1000Gbit"],
        ),
        (
            "attributes:\n  user.a: {type: string, claim: a, absent: deny}\n",
            ["2:3 source: `user.a` comes from a token, and `identity:` does not say how tokens are verified"],
        ),
        (
            "attributes:\n  user.a: {type: string, header: x-a, trust: declared, absent: deny}\n",
            ["2:3 source: `user.a` must come from a claim"],
        ),
        (
            "attributes:\n  data.a: {type: string, header: x-a, absent: deny}\n",
            ["2:34 untrusted-header: `data.a` comes from header `x-a`, which any application can set"],
        ),
        (
            "attributes:\n  data.a: {type: string, header: X-Pointsman-Id, trust: declared, absent: deny}\n",
            ["2:34 forbidden-header: header `x-pointsman-id` cannot be a fact"],
        ),
        (
            "attributes:\n  node.a: {type: string, node: b, absent: deny}\n",
            ["2:3 source: `node.a` is the node's fact `b`"],
        ),
        (
            "attributes:\n  data.a: {type: string, absent: deny}\n",
            ["2:3 source: attribute `data.a` has no source"],
        ),
        (
            "attributes:\n  data.a: {type: int, header: x-a, trust: declared, absent: many}\n",
            ["2:61 wrong-type: `data.a` is of type int, and the text `many` is not"],
        ),
        (
            "attributes:\n  data.a: {type: string, header: x-a, trust: declared}\n",
            ["2:11 missing-field: field `absent` is missing"],
        ),
        (
            "attributes:\n  request.path: {type: string, header: x-a, trust: declared, absent: deny}\n",
            ["2:3 reserved-name: `request.path` is built in and cannot be declared"],
        ),
        (
            "attributes:\n  app.in: {type: string, header: x-a, trust: declared, absent: deny}\n",
            ["2:3 reserved-name: `in` in `app.in` is a word of CEL"],
        ),
        (
            "attributes:\n  data.a: {type: string, header: x-a, trust: declared, absent: deny}\n"
            "  data.a.b: {type: string, header: x-b, trust: declared, absent: deny}\n",
            ["3:3 reserved-name: `data.a.b` cannot stand below the attribute `data.a`"],
        ),
        (
            IDENTITY.replace("keys.json", "nokeys.json"),
            ["1:76 unreadable: key set `nokeys.json` cannot be read: no such file"],
        ),
        (
            "operations: [{operation: read}]\n",
            ["1:14 operation: this entry fits every request"],
        ),
        (
            "destinations: [{name: a, hosts: [a.example], anyAddress: true}]\n"
            "operations: [{destination: a, grpc: p.S/Get, operation: read}]\n",
            ["2:14 operation: `p.S/Get` is never called: no destination meant here has gRPC"],
        ),
        (
            "operations: [{destination: pay, operation: read}]\n",
            ["1:28 unknown-destination: there is no destination `pay`"],
        ),
        (
            "catalogue:\n  data.l: {values: [a], absent: b, entries: [{destination: x, value: c}]}\n",
            [
                "2:33 unknown-value: there is no value `b`",
                "2:60 unknown-destination: there is no destination `x`",
                "2:70 unknown-value: there is no value `c`",
            ],
        ),
        (
            "catalogue:\n  app.l: {values: [a], absent: a, entries: []}\n",
            ["2:3 reserved-name: `app.l` cannot come from a catalogue"],
        ),
    ],
)
def test_each_mistake_is_named_at_its_place(body: str, found: list[str]) -> None:
    assert problems(body) == found


@pytest.mark.parametrize(
    ("field", "found"),
    [
        (
            "dedicated: peruser",
            [
                "`dedicated` is `per-user`, `per-workload`, `per-rule`, `true` or `false` or a mapping, "
                "found the text `peruser`; did you mean `per-user`?"
            ],
        ),
        (
            "dedicated: {per-request-atribute: x}",
            [
                "unknown field `per-request-atribute`; did you mean `per-request-attribute`?",
                "field `per-request-attribute` is missing",
            ],
        ),
        ("failBack: nver", ["`failBack` is `never` or a mapping, found the text `nver`; did you mean `never`?"]),
    ],
)
def test_where_a_value_has_several_forms_all_are_named_and_the_nearest_word(field: str, found: list[str]) -> None:
    with pytest.raises(Invalid) as caught:
        loaded(f"profiles: [{{name: open, encryption: none, {field}}}]\n")

    assert [str(problem).partition(": ")[2] for problem in caught.value.problems] == found


def test_a_problem_in_a_condition_points_into_the_condition() -> None:
    body = PROFILE + 'rules:\n- name: a\n  when: |\n    process.uid == 1\n      && user.nam == "x"\n  profile: open\n'

    assert problems(body) == ["6:10 unknown-attribute: unknown attribute `user.nam`"]


def test_all_problems_of_a_file_are_told_at_once() -> None:
    body = (
        "destinations: [{name: a, hosts: [x/y], addresses: [198.51.100.1]}]\n"
        "profiles: [{name: p, encryption: weak}]\n"
        "rules:\n"
        "- {name: a, when: 'user.x == 1', profile: p}\n"
        "- {name: a, when: 'destination.name == \"b\"', profile: q}\n"
        "a: 1\n"
        "a: 2\n"
    )

    assert [line.partition(":")[0] + line.partition(" ")[2].partition(":")[0] for line in problems(body)] == [
        "1host",
        "2unknown-value",
        "4unknown-attribute",
        "5duplicate-name",
        "5unknown-destination",
        "5unknown-profile",
        "6unknown-field",
        "7duplicate-key",
    ]


def test_a_broken_attribute_is_told_once_and_not_again_by_every_rule() -> None:
    body = (
        "attributes: {data.a: {type: text, header: x-a, trust: declared, absent: deny}}\n"
        'rules: [{name: a, when: data.a == "x", deny: true}, {name: b, when: data.a == "y", deny: true}]\n'
    )

    assert [line.partition(" ")[2].partition(":")[0] for line in problems(body)] == ["unknown-value"]


def test_rules_that_never_decide_are_told() -> None:
    body = rules(
        "{name: a, when: 'process.uid == 1', deny: true}",
        "{name: b, when: 'process.uid == 1 && destination.port == 80', deny: true}",
        "{name: c, when: 'process.uid == 2 && process.uid == 3', deny: true}",
        "{name: d, when: true, deny: true}",
        "{name: e, when: 'process.uid == 9', deny: true}",
    )

    assert problems(body) == [
        "4:19 unreachable-rule: rule `b` never decides: `a` comes first, which holds wherever this one does",
        "5:19 unreachable-rule: rule `c` never decides: its condition never holds",
        "7:19 unreachable-rule: rule `e` never decides: `d` comes first, which always holds",
    ]


RAW = "destinations: [{name: raw, hosts: [r.example], anyAddress: true, rawPath: true}]\n"


def test_a_rule_by_path_is_refused_where_it_could_apply_to_a_raw_path() -> None:
    assert problems(RAW + 'rules: [{name: a, when: request.path == "/a", deny: true}]\n') == [
        "2:25 raw-path: rule `a` asks for the path, and paths of destination `raw` are raw"
    ]
    assert loaded(RAW + 'rules: [{name: a, when: request.path == "/a" && destination.name != "raw", deny: true}]\n')
    assert loaded(RAW + 'rules: [{name: a, when: operation == "read", deny: true}]\n')


def test_a_private_or_shared_key_cannot_prove_users() -> None:
    def found(key: object) -> list[str]:
        with pytest.raises(Invalid) as caught:
            load((HEAD + IDENTITY).encode(), "p.yaml", lambda _: json.dumps({"keys": [key]}).encode())
        return [problem.what for problem in caught.value.problems]

    assert found({"kty": "oct", "k": "AA"}) == [
        "key 1 of `keys.json` is of type `oct`, not RSA, EC or OKP: only public keys can prove a user"
    ]
    assert found(KEYS["keys"][0] | {"d": "AA"}) == ["key 1 of `keys.json` is a private key; give the public one"]
    assert found({"kty": "RSA", "n": "AA", "e": "AQAB"}) == ["key 1 of `keys.json` has fewer than 2048 bits"]
    assert found(KEYS["keys"][0] | {"alg": "HS256"}) == [
        "key 1 of `keys.json` is for `HS256`, which is not a signature with a public key"
    ]


def test_the_examples_load() -> None:
    folder = Path(__file__).parents[3] / "examples"

    policy = load(
        (folder / "policy.yaml").read_bytes(), "policy.yaml", lambda name: (folder / name).read_bytes()
    ).policy

    assert [(rule.name, rule.profile) for rule in policy.rules] == [
        ("admin-confidential", "vault"),
        ("public-read", "plain"),
        ("payment-calls", "payments"),
        ("default", None),
    ]


def test_a_key_without_the_space_after_it_is_told_as_such() -> None:
    text = b"apiVersion: pointsman/v1\nkind: Policy\nmetadata: {name:x}\nrules:\n  - name:a\n"

    with pytest.raises(Invalid) as caught:
        load(text, "p.yaml", lambda name: b"")

    hints = [(problem.place.line, problem.hint) for problem in caught.value.problems if problem.hint]
    assert hints == [(3, "a space is due after `name:`"), (5, "a space is due after `name:`")]
