"""Names that only DNS can tell, where nobody asked it: a request that names no address is taken to go there."""

from pathlib import Path

from pointsman.cli.asked import Asked, as_request, with_stand_ins
from pointsman.cli.cases import run_cases
from pointsman.policy.load import load_policy

POLICY = """
apiVersion: pointsman/v1
kind: Policy
metadata: {name: test}
destinations:
  - {name: shop, hosts: [shop.example]}
  - {name: mall, hosts: [mall.example]}
  - {name: pay, hosts: [pay.example], addresses: [198.51.100.81]}
profiles: [{name: open, encryption: none}]
rules: [{name: buy, when: 'destination.name == "shop"', profile: open}]
"""
CASES = """
apiVersion: pointsman/v1
kind: PolicyTest
cases:
  - {name: there, url: http://shop.example/, expect: {profile: open, rule: buy}}
  - {name: plain, url: "tcp://shop.example:7000", expect: {profile: open, rule: buy}}
  - {name: neighbour, url: "tcp://mall.example:7000", expect: {deny: true}}
  - {name: elsewhere, url: http://shop.example/, address: 198.51.100.9, expect: {status: 421}}
"""


def test_cases_of_names_need_no_dns(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICY)
    (tmp_path / "cases.yaml").write_text(CASES)

    outcomes = run_cases(tmp_path / "p.yaml", tmp_path / "cases.yaml")

    assert [(outcome.name, outcome.passed) for outcome in outcomes] == [
        ("there", True),
        ("plain", True),
        ("neighbour", True),
        ("elsewhere", True),
    ]


def test_what_is_assumed_is_said() -> None:
    policy = with_stand_ins(load_policy(POLICY.encode(), "p.yaml", lambda _: b""))

    request, assumed = as_request(Asked("GET", "http://shop.example/"), policy)
    assert (request.address, assumed) == (
        "100::1",
        ("`shop.example` is taken to be where DNS says; 100::1 stands for that",),
    )


def test_names_that_an_agent_was_asked_about_have_its_addresses_or_none() -> None:
    policy = load_policy(POLICY.encode(), "p.yaml", lambda _: b"")

    assert [one.addresses for one in with_stand_ins(policy, {"shop.example"}).destinations] == [
        (),
        ("100::2/128",),
        ("198.51.100.81/32",),
    ]
