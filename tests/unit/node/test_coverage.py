"""What tunnels leave out of where the policy may send something: told with its place, and only where it can matter."""

import pytest

from pointsman.model.policy import Policy
from pointsman.model.problem import Place, Problem
from pointsman.model.profile import Level
from pointsman.model.tunnel import Entry, Kind
from pointsman.node.coverage import uncovered
from pointsman.policy.diagram import Compiled, compile_policy
from pointsman.policy.load import load_policy
from pointsman.tunnels.pool import Supply, load_pool
from tests.unit.tunnels.samples import WIREGUARD

DIRECT = Entry("direct", Kind.DIRECT, Level.NONE, device="eth0")
DROPPED = "its device drops what profile `vault` sends there"
ALONE = ", and no other tunnel of `vault` takes it"
MEND = "; add them, or `select` others"


def policy(destination: str, rule: str = 'destination.name == "x"', profile: str = "encryption: strong") -> Policy:
    return load_policy(
        f"""apiVersion: pointsman/v1
kind: Policy
metadata: {{name: test}}
destinations: [{destination}, {{name: other, addresses: [192.0.2.1]}}]
profiles: [{{name: vault, {profile}}}, {{name: plain, encryption: none, select: {{names: [direct]}}}}]
rules:
  - {{name: one, when: '{rule}', profile: vault}}
  - {{name: two, when: 'destination.name == "other"', profile: plain}}
""".encode(),
        "p.yaml",
        lambda name: b"",
    )


def supplies(*allowed: str, addresses: str = "10.71.0.2, fd71::2") -> list[Supply]:
    def read(name: str) -> str:
        text = WIREGUARD.replace("0.0.0.0/0, ::/0", allowed[int(name)])
        return text.replace("10.71.0.2/24, fd71::2/64", addresses)

    entries = [Entry(f"wg{i}", Kind.WIREGUARD, Level.STRONG, file=str(i)) for i in range(len(allowed))]
    return list(load_pool([(entry, Place("node.yaml")) for entry in (*entries, DIRECT)], read).supplies)


def said(policy: Policy, *allowed: str, addresses: str = "10.71.0.2, fd71::2") -> list[str]:
    found = uncovered(policy, supplies(*allowed, addresses=addresses), lambda: compile_policy(policy))
    return [note.what.partition("leave out ")[2] + note.hint.removeprefix(DROPPED).removesuffix(MEND) for note in found]


def test_a_destination_that_the_file_leaves_out_is_named_with_its_addresses_at_the_line() -> None:
    declared = policy('{name: x, addresses: [198.51.100.7, 203.0.113.0/24, "2001:db8::/32"]}')

    assert uncovered(declared, supplies("198.51.100.0/24, 2001:db8::/33"), lambda: compile_policy(declared)) == (
        Problem(
            Place("0", 7, 1),
            "wg-allowed",
            "`AllowedIPs` of tunnel `wg0` leave out `x` (203.0.113.0/24, 2001:db8::/32)",
            DROPPED + ALONE + MEND,
        ),
    )


@pytest.mark.parametrize("allowed", ["0.0.0.0/0, ::/0", "0.0.0.0/1, 128.0.0.0/1, ::/1, 8000::/1"])
def test_a_file_that_leaves_nothing_out_costs_no_compilation(allowed: str) -> None:
    def never() -> Compiled:
        raise AssertionError("compiled")

    assert uncovered(policy("{name: x, addresses: [198.51.100.7]}"), supplies(allowed), never) == ()


def test_a_tunnel_takes_what_several_peers_or_networks_take_together() -> None:
    assert said(policy("{name: x, addresses: [198.51.100.0/24]}"), "198.51.100.0/25, 198.51.100.128/25, ::/0") == []


def test_addresses_of_a_family_that_the_tunnel_does_not_have_are_not_its_file_s_to_take() -> None:
    both = policy('{name: x, addresses: [198.51.100.7, "2001:db8::7"]}')

    assert said(both, "0.0.0.0/0", addresses="10.71.0.2") == []
    assert said(both, "0.0.0.0/0") == ["`x` (2001:db8::7/128)" + ALONE]


def test_it_is_said_whether_another_tunnel_takes_what_one_leaves_out() -> None:
    declared = policy("{name: x, addresses: [203.0.113.7]}")

    assert said(declared, "198.51.100.0/24", "0.0.0.0/0, ::/0") == ["`x` (203.0.113.7/32)"]
    assert said(declared, "198.51.100.0/24", "192.0.2.0/24") == ["`x` (203.0.113.7/32)" + ALONE] * 2


def test_what_no_rule_sends_by_the_tunnel_is_not_told() -> None:
    assert said(policy("{name: x, addresses: [198.51.100.7]}"), "198.51.100.0/24") == []
    elsewhere = 'destination.name == "other" && request.method == "GET"'
    assert said(policy("{name: x, addresses: [203.0.113.7]}", elsewhere), "192.0.2.0/24") == []
    assert said(policy("{name: x, addresses: [203.0.113.7]}", profile="encryption: quantum"), "192.0.2.0/24") == []
    by_address = 'destination.name == "x" && destination.address == "198.51.100.7"'
    assert said(policy("{name: x, addresses: [198.51.100.7, 203.0.113.7]}", by_address), "198.51.100.0/24") == []


def test_tunnels_of_single_holders_come_from_gateways_and_not_from_files() -> None:
    held = policy("{name: x, addresses: [203.0.113.7]}", profile="encryption: strong, dedicated: per-rule")

    assert said(held, "198.51.100.0/24") == []


def test_where_nobody_knows_the_addresses_every_one_is_due() -> None:
    assert said(policy("{name: x, hosts: [x.example]}"), "198.51.100.0/24") == ["`x` (any address)" + ALONE]
    trusted = policy('{name: x, hosts: ["*.x.example"], anyAddress: true}')
    assert said(trusted, "198.51.100.0/24") == ["`x` (any address)" + ALONE]
    undeclared = policy("{name: x, addresses: [198.51.100.7]}", 'destination.name in ["", "x"]')
    assert said(undeclared, "198.51.100.0/24") == ["what is not declared" + ALONE]


def test_of_many_addresses_the_first_few_are_shown() -> None:
    many = policy("{name: x, addresses: [203.0.113.1, 203.0.113.2, 203.0.113.3, 203.0.113.4, 203.0.113.5]}")

    assert said(many, "198.51.100.0/24")[0].startswith("`x` (203.0.113.1/32, ")
    assert "203.0.113.4/32, and 1 more)" in said(many, "198.51.100.0/24")[0]
