"""Whatever a token claims, a real Envoy that verifies it goes where `explain` says: claims of right and wrong shape.

`READERS_POLICIES` and `READERS_SEED` are as in `test_readers.py`.
"""

import json
import os
import time
from random import Random

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from pointsman.dataplane import headers
from pointsman.dataplane.envoy import extension
from pointsman.dataplane.identity import compile_identity, name_decision
from pointsman.dataplane.inputs import inputs_of
from pointsman.model.attribute import AbsentValue, Attribute, Claim, Type, Value
from pointsman.model.context import Absent, Context, Request
from pointsman.model.diagram import Leaf, Node, Switch
from pointsman.model.formula import TRUE, Atom, Contains, Equals, Prefix, Present
from pointsman.model.policy import Identity, Policy, Rule
from pointsman.model.problem import Place
from pointsman.policy.context import attributes_of, read, usable
from pointsman.policy.decide import walk
from pointsman.policy.diagram import compile_policy
from pointsman.policy.token import verified
from tests.property import policies, proxy

POLICIES = int(os.environ.get("READERS_POLICIES", "400"))
SEED = int(os.environ.get("READERS_SEED", "1"))
KEY = ec.generate_private_key(ec.SECP256R1())
JWK = {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(KEY.public_key())), "kid": "k", "alg": "ES256"}
IDENTITY = Identity("authorization", "Bearer ", "issuer", ("us",), json.dumps({"keys": [JWK]}), True)
REQUEST = Request("http", "GET", "example", "/", (), "198.51.100.7", 80, None)
# one claim read as two types, and an address, beside what other tests declare
CLAIMED = (
    *(attribute for attribute in policies.DECLARED if isinstance(attribute.source, Claim)),
    Attribute("user.first", Type.STRING, Claim("groups"), AbsentValue("none")),
    Attribute("user.peer", Type.IP, Claim("peer"), AbsentValue("198.51.100.7")),
)
CLAIMS = ("role", "level", "rank", "human", "groups", "teams", "peer")
TEXTS = (*policies.WORDS, *policies.ADDRESSES, "", "admin", "true", "1", "-7", "-7.000000", "1.5", "1e3", '["all","x"]')
# kept as text, for how a number is written must not matter either
SHAPES = (
    *(json.dumps(text) for text in TEXTS),
    *("5", "1", "-7", "-1.5", "1.5", "1e3", "1E5", "100000", "-100000", "-0", "-0.0", "1e-7", "3.0", "1e20", "1e308"),
    *(str(number) for number in (2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, -(2**53) - 1, 2**64 - 2048, 2**64, 10**30)),
    *("true", "false", "null", "[]", "{}", '{"x":"all"}', '["x"]', '[" x"]', '["x","x"]', '["all", "ü\\\\"]'),
    *('["\\u0078"]', '["y\\"z","x,y"]', '["x",1]', '["x",null]', '[["x"]]', '[{"x":1}]', "[1]", '["\\n","x"]'),
    *('" [\\"x\\"]"', '"[\\"x\\"] "', '"a\\nb"', '"a\\u0000b"', '"\\ud83d\\ude00"', '" a "'),
)
# what makes the whole token unreadable
BROKEN = ("1e400", "NaN", '"\\ud800"', '"a","role":"admin","role":"dev"', "[" * 100 + "]" * 100)


def token(claims: dict[str, str]) -> str:
    """A signed token with these claims, whose values are JSON as it stands there."""
    known = {"iss": '"issuer"', "aud": '"us"', "exp": str(int(time.time()) + 600)}
    body = ",".join(f'"{name}":{value}' for name, value in (known | claims).items())
    return jwt.PyJWS().encode(f"{{{body}}}".encode(), KEY, "ES256", {"kid": "k"})


def expected(policy: Policy, root: Node, given: str) -> str:
    """Where `explain` says that a request with this token goes."""
    claims = verified(given, IDENTITY, time.time())
    context = read(REQUEST, policy, None if isinstance(claims, str) else claims)
    assert isinstance(context, Context)
    facts: dict[str, Value | Absent] = {a.name: usable(a, context.facts[a.name]) for a in attributes_of(policy)}
    return proxy.label(walk(root, facts, []))


def policy_of(rules: tuple[Rule, ...]) -> Policy:
    return Policy("p", "v", CLAIMED, (), (), rules, IDENTITY)


def observed(roots: dict[str, Node], tokens: dict[str, list[str]]) -> dict[tuple[str, str], str]:
    """Where a real Envoy sends requests with these tokens, by the name of a diagram and token."""
    whole = policy_of(tuple(Rule(a.name, Atom(a.name, Present()), None, "", Place()) for a in CLAIMED))
    verify = compile_identity(IDENTITY, headers.claims(whole), headers.json_claims(whole))
    filters = [*(extension(name, config) for name, config in verify.items()), name_decision(True)]
    with proxy.running(roots, inputs_of(CLAIMED), filters) as real:
        return {
            (name, one): real.ask(name, "GET", {"authorization": f"Bearer {one}".encode()})
            for name in roots
            for one in tokens[name]
        }


def test_envoy_reads_every_claim_as_explain_does() -> None:
    random = Random(SEED)  # noqa: S311
    asked: dict[str, Policy] = {}
    tokens: dict[str, list[str]] = {}
    for number in range(POLICIES):
        name = f"p{number}"
        asked[name] = policy_of(policies.rules(random, random.sample(CLAIMED, random.randint(1, 4))))
        # a subject that is no text makes the whole token invalid
        tokens[name] = [
            token({"sub": json.dumps(random.choice(TEXTS)), **{claim: random.choice(SHAPES) for claim in CLAIMS}})
            for _ in range(12)
        ]
    roots = {name: compile_policy(policy).root for name, policy in asked.items()}
    wrong = [
        (claims_of(one), asked[name].rules, where)
        for (name, one), where in observed(roots, tokens).items()
        if where != expected(asked[name], roots[name], one)
    ]
    assert wrong == []


def test_every_shape_of_a_claim_is_present_or_absent_for_both() -> None:
    policy = policy_of(())
    roots: dict[str, Node] = {a.name: Switch(a.name, {}, Leaf(1), Leaf(0)) for a in CLAIMED}
    claims = {a.name: a.source.name for a in CLAIMED if isinstance(a.source, Claim)}
    tokens = {name: [token({claims[name]: shape}) for shape in (*SHAPES, *BROKEN)] for name in roots}
    found = observed(roots, tokens)
    wrong = [(key, claims_of(key[1])) for key in found if found[key] != expected(policy, roots[key[0]], key[1])]
    assert wrong == []
    assert {found[name, one] for name in roots for one in tokens[name][-len(BROKEN) :]} == {"0"}


def test_a_text_that_looks_like_a_list_is_none_and_a_list_is_no_text() -> None:
    rules = (
        Rule("member", Atom("user.teams", Contains("x")), "green", "", Place()),
        Rule("text", Atom("user.first", Equals('["x"]')), "blue", "", Place()),
        Rule("coded", Atom("user.first", Prefix("WyJ4")), "red", "", Place()),
        Rule("default", TRUE, None, "", Place()),
    )
    tokens = [token({"groups": shape, "teams": shape}) for shape in ('["x"]', '"[\\"x\\"]"', '"WyJ4Il0="', '{"x":"x"}')]
    found = observed({"p": compile_policy(policy_of(rules)).root}, {"p": tokens})
    assert [found["p", one] for one in tokens] == ["0", "1", "2", "3"]


def claims_of(one: str) -> dict[str, object]:
    return jwt.decode(one, options={"verify_signature": False})
