"""What changes with a policy's own choices: where the token is, and destinations that need raw paths."""

from dataclasses import replace

from pointsman.lab.clients import Answer, connected, token
from pointsman.lab.names import Lab
from pointsman.model.attribute import Type
from pointsman.model.formula import Atom, Equals, Not, Or, Prefix

from .conftest import FAST, SAFE, Proxy

ADDRESS, HOST = "198.51.100.80", "public.example"


def _ask(lab: Lab, path: str, host: str = HOST, port: int = 80, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    with connected(lab, ADDRESS, port) as client:
        return client.ask(path, host=host, headers=headers)


def test_a_token_in_a_header_of_its_own_does_not_leave(lab: Lab, proxy: Proxy) -> None:
    assert proxy.policy.identity is not None
    own = replace(proxy.policy.identity, header="x-identity", prefix="", forward=False)
    proxy.publish(proxy.files(replace(proxy.policy, identity=own)))
    for good, source in ((token(lab, role="admin"), SAFE[0]), ("not.a.token", FAST[0])):
        seen = _ask(lab, "/", headers=(("x-identity", good), ("authorization", "Bearer mine"))).json()
        names = [name for name, _ in seen["headers"]]
        assert (seen["source"], "x-identity" in names, "authorization" in names) == (source, False, True)


def test_raw_paths_reach_the_destinations_that_need_them_and_no_others(lab: Lab, proxy: Proxy) -> None:
    public, *others = proxy.policy.destinations
    raw = replace(public, raw_path=True)
    strict = replace(public, name="strict", hosts=("strict.example",))
    rules = tuple(
        replace(rule, when=Atom("destination.name", Equals("nowhere")))
        if isinstance(rule.when, Atom) and isinstance(rule.when.test, Prefix)
        else rule
        for rule in proxy.policy.rules
    )
    proxy.publish(proxy.files(replace(proxy.policy, destinations=(raw, strict, *others), rules=rules)))
    for path in ("/@scope%2fname", "/a//b", "/a/../b", "/%41"):
        assert _ask(lab, path, port=8081).json()["body"].startswith(f"GET {path} ")
        assert _ask(lab, path, host="strict.example").status == 400
    assert _ask(lab, "/a/..b/.c?x=//../%2f", host="strict.example").status == 200


def test_a_user_may_be_excluded_by_number(lab: Lab, proxy: Proxy) -> None:
    first = proxy.policy.rules[0]
    named = Not(Or((Atom("process.uid", Equals(2001)), Atom("process.uid", Equals(1000)))))
    ports = proxy.ports
    assert proxy.policy.attribute("process.uid").type == Type.INT
    denied = replace(first, name="only-known-users", when=named)
    proxy.publish(proxy.files(replace(proxy.policy, rules=(denied, *proxy.policy.rules))))
    with connected(lab, ADDRESS, 80, uid=2001) as client:
        assert client.ask("/", host=HOST).status == 200
    with connected(lab, ADDRESS, 80, uid=1000) as client:
        assert client.ask("/", host=HOST).status == 403  # it has no entry of its own here: one of all others
    assert ports == proxy.ports
