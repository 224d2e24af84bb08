"""Destinations: what is canonical, and what contradicts itself."""

import pytest

from pointsman.model.problem import Invalid
from pointsman.policy.load import load

HEAD = "apiVersion: pointsman/v1\nkind: Policy\nmetadata: {name: test}\ndestinations:\n"


def found(*destinations: str) -> list[str]:
    text = HEAD + "".join(f"- {{name: {destination}}}\n" for destination in destinations)
    try:
        load(text.encode(), "p.yaml", lambda _: b"")
    except Invalid as invalid:
        return [f"{problem.what}; {problem.hint}" for problem in invalid.problems]
    return []


@pytest.mark.parametrize(
    "destination",
    [
        "a, hosts: [a.example], addresses: [198.51.100.1]",
        "a, hosts: ['*.a.example', '*.example'], anyAddress: true",
        "a, hosts: [198.51.100.1, '[2001:db8::1]'], addresses: [198.51.100.1, '2001:db8::1']",
        "a, addresses: [0.0.0.0/0, '::/0'], ports: [5432]",
        "a, hosts: [a.example]",
        "a, hosts: [a.example, 198.51.100.1, '[2001:db8::1]'], ports: [80]",
        "a, hosts: [localhost, a_b.example, xn--caf-dma.example], addresses: [127.0.0.1]",
    ],
)
def test_a_sound_destination_is_accepted(destination: str) -> None:
    assert found(destination) == []


@pytest.mark.parametrize(
    ("destination", "problem"),
    [
        ("a", "destination `a` is nowhere; give it `hosts`, `addresses` or both"),
        (
            "a, hosts: ['*.a.example']",
            "nothing says at which addresses destination `a` is; "
            "DNS cannot list the hosts of a wildcard: "
            "declare `addresses`, or write `anyAddress: true` to trust the host that the client names",
        ),
        (
            "a, hosts: [a.example], anyAddress: true, ports: [80], grpcPorts: [443]",
            "`a` has `grpcPorts` beyond its `ports`; ",
        ),
        (
            "a, addresses: [198.51.100.1], anyAddress: true",
            "`anyAddress` is for destinations with hosts and without `addresses`; ",
        ),
        ("a, hosts: [a.example.], anyAddress: true", "host `a.example.` has a final dot; write `a.example`"),
        (
            "a, hosts: ['a.example:80'], anyAddress: true",
            "host `a.example:80` is not a plain host name; write it without scheme, port and path; ports go to `ports`",
        ),
        (
            "a, hosts: ['http://a.example/'], anyAddress: true",
            "host `http://a.example/` is not a plain host name; "
            "write it without scheme, port and path; ports go to `ports`",
        ),
        (
            "a, hosts: [café.example], anyAddress: true",
            "host `café.example` is not ASCII; write international names in their `xn--` form",
        ),
        (
            "a, hosts: ['a.*.example'], anyAddress: true",
            "host `a.*.example` is not a host name; write it like `api.example` or `*.api.example`",
        ),
        (
            "a, hosts: ['*'], anyAddress: true",
            "host `*` is not a host name; write it like `api.example` or `*.api.example`",
        ),
        (
            "a, hosts: ['0x7f.1'], anyAddress: true",
            "host `0x7f.1` is not a host name; write it like `api.example` or `*.api.example`",
        ),
        (
            "a, hosts: ['2001:db8::1'], anyAddress: true",
            "`2001:db8::1` is not a host as clients write it; write `[2001:db8::1]`",
        ),
        (
            "a, addresses: [198.51.100.7/24]",
            "`198.51.100.7/24` has bits set beyond its prefix; write `198.51.100.0/24`",
        ),
        (
            "a, addresses: ['::ffff:198.51.100.7']",
            "`::ffff:198.51.100.7` is an IPv4 address in IPv6 clothes; write `198.51.100.7`",
        ),
        (
            "a, addresses: [198.51.100]",
            "`198.51.100` is neither an address nor a network; write it like `198.51.100.7` or `2001:db8::/32`",
        ),
        (
            "a, addresses: [198.51.100.1], ports: ['90-80']",
            "`90-80` is not a range of ports; the lower port comes first, both between 1 and 65535",
        ),
        ("a, addresses: [198.51.100.1, 198.51.100.1/32]", "destination `a` has address `198.51.100.1/32` twice; "),
    ],
)
def test_an_unsound_destination_is_named(destination: str, problem: str) -> None:
    assert found(destination) == [problem]


@pytest.mark.parametrize(
    ("destination", "addresses", "resolved"),
    [
        ("a, hosts: [a.example]", (), True),
        ("a, hosts: [a.example, 198.51.100.1, '[2001:db8::1]']", ("198.51.100.1/32", "2001:db8::1/128"), True),
        ("a, hosts: [198.51.100.1]", ("198.51.100.1/32",), False),
        ("a, hosts: [a.example], addresses: [198.51.100.1]", ("198.51.100.1/32",), False),
        ("a, hosts: [a.example], anyAddress: true", (), False),
    ],
)
def test_names_without_addresses_are_left_to_dns(destination: str, addresses: tuple[str, ...], resolved: bool) -> None:
    text = f"{HEAD}- {{name: {destination}}}\n"
    declared = load(text.encode(), "p.yaml", lambda _: b"").policy.destinations[0]
    assert (declared.addresses, declared.resolved) == (addresses, resolved)


def test_two_destinations_cannot_have_the_same_host_on_the_same_port() -> None:
    a, b = "a, hosts: [h.example], addresses: [198.51.100.1]", "b, hosts: [H.example], addresses: [198.51.100.2]"
    problem = "`h.example` belongs to destination `a` already; give each its own `ports`, or join them"

    assert found(a, b) == [problem]
    assert found(f"{a}, ports: [80]", f"{b}, ports: ['70-90']") == [problem]
    assert found(f"{a}, ports: [80]", f"{b}, ports: [81]") == []


def test_hosts_may_share_an_address_and_destinations_without_hosts_may_not() -> None:
    assert found("a, hosts: [a.example], addresses: [198.51.100.1]", "b, addresses: [198.51.100.1]") == []
    assert found("a, addresses: [198.51.100.1]", "b, addresses: [198.51.100.1/32]") == [
        "`198.51.100.1/32` belongs to destination `a` already; give each its own `ports`, or join them"
    ]
