"""Names and their addresses: what is kept of answers, for how long, and what no name may have."""

from dataclasses import replace

import pytest

from pointsman.model.policy import Destination, Policy
from pointsman.model.resolution import Answer, Question
from pointsman.node.resolve import (
    KEPT,
    MOST,
    NOTHING,
    Known,
    addresses,
    answered,
    failed,
    forbidden,
    found_by,
    names_of,
    placed,
    questions,
    stale,
)

A = Question("shop.example", 4)
AAAA = Question("shop.example", 6)


def after(*answers: tuple[float, tuple[str, ...], int], known: Known = NOTHING, question: Question = A) -> Known:
    for now, given, ttl in answers:
        known = answered(known, question, Answer(given, ttl), now)
    return known


def policy(*destinations: Destination) -> Policy:
    return Policy("test", "", (), destinations, (), (), None)


def test_an_address_stays_ten_minutes_after_it_was_last_seen() -> None:
    one, other = ("198.51.100.1",), ("198.51.100.2",)

    assert after((0, one, 5), (KEPT - 1, other, 5)).addresses == {"198.51.100.1": KEPT, "198.51.100.2": 2 * KEPT - 1}
    assert set(after((0, one, 5), (KEPT, other, 5)).addresses) == {*other}
    assert set(after((0, one, 5), (1, one, 5), (KEPT, other, 5)).addresses) == {*one, *other}


def test_an_address_with_a_longer_time_to_live_stays_as_long_but_not_for_ever() -> None:
    assert after((0, ("198.51.100.1",), 3600)).addresses == {"198.51.100.1": 3600}
    assert after((0, ("198.51.100.1",), 2**31 - 1)).addresses == {"198.51.100.1": 86400}
    assert after((0, ("198.51.100.1",), 3600), (1, ("198.51.100.1",), 0)).addresses == {"198.51.100.1": 3600}


@pytest.mark.parametrize(("ttl", "due"), [(0, 5), (4, 5), (30, 30), (60, 60), (86400, 60)])
def test_a_name_is_asked_for_again_after_its_time_to_live_within_bounds(ttl: int, due: int) -> None:
    assert after((100, ("198.51.100.1",), ttl)).due == 100 + due


def test_a_name_that_is_gone_loses_its_addresses_with_time_alone() -> None:
    known = after((0, ("198.51.100.1",), 60), (10, (), 60))

    assert known.addresses == {"198.51.100.1": KEPT}
    assert after((KEPT, (), 60), known=known).addresses == {}


def test_where_no_resolver_answers_nothing_is_forgotten() -> None:
    known = after((0, ("198.51.100.1",), 60))
    later = failed(known, "no answer", 10 * KEPT)

    assert later == replace(known, due=10 * KEPT + 5, why="no answer")
    assert after((10 * KEPT + 5, ("198.51.100.1",), 60), known=later).why == ""


def test_more_addresses_than_fit_are_bounded_and_the_newest_stay() -> None:
    first = tuple(f"198.51.100.{n}" for n in range(100))
    second = tuple(f"203.0.113.{n}" for n in range(100))
    known = after((0, first, 60), (1, second, 60))

    assert len(known.addresses) == MOST
    assert set(second) < set(known.addresses)
    assert len(after((0, tuple(f"198.51.{n // 200}.{n % 200}" for n in range(4000)), 60)).addresses) == MOST


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.9.10", "0.0.0.0", "0.1.2.3", "169.254.169.254", "224.0.0.1", "239.1.1.1"),
        *("240.0.0.1", "255.255.255.255", "::1", "::", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:198.51.100.1"),
        *("fe80::1", "febf::1", "ff02::1", "ff0e::1", "fd00:ec2::254"),
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a9fe:a9fe::1"),
    ],
)
def test_no_name_may_lead_to_this_host_its_link_or_a_group(address: str) -> None:
    assert forbidden(address)


@pytest.mark.parametrize(
    "address",
    [
        *("198.51.100.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.253.255.255", "223.255.255.255"),
        *("2001:db8::1", "fd00::1", "fec0::1", "64:ff9b::c633:6401", "2002:c633:6401::1"),
    ],
)
def test_private_and_public_addresses_are_fine(address: str) -> None:
    assert not forbidden(address)


def test_addresses_that_no_name_may_have_are_dropped_and_counted() -> None:
    known = after((0, ("127.0.0.1", "198.51.100.1", "169.254.169.254"), 5), (5, ("127.0.0.1",), 5))

    assert (set(known.addresses), known.refused, known.drops) == ({"198.51.100.1"}, ("127.0.0.1",), 3)
    assert after((10, ("198.51.100.1",), 5), known=known).refused == ()


def test_an_answer_of_the_other_family_says_nothing() -> None:
    assert after((0, ("2001:db8::1", "198.51.100.1"), 5)).addresses == {"198.51.100.1": KEPT}
    assert after((0, ("2001:db8::1", "198.51.100.1"), 5), question=AAAA).addresses == {"2001:db8::1": KEPT}


def test_names_that_nobody_asks_for_are_kept_for_a_while() -> None:
    assert stale(NOTHING, 0)
    assert not stale(after((0, (), 5)), KEPT)
    assert stale(after((0, (), 5)), KEPT + 1)


def test_only_names_without_addresses_are_asked_for() -> None:
    asked = policy(
        Destination("shop", ("shop.example", "198.51.100.9", "[2001:db8::9]"), ("198.51.100.9/32",), resolved=True),
        Destination("pay", ("pay.example",), ("198.51.100.81/32",)),
        Destination("any", ("any.example",), any_address=True),
    )

    assert questions(asked) == (A, AAAA)
    assert names_of(("a.example", "1.2.3.4", "[::2]", "4.example")) == ("a.example", "4.example")


def test_what_is_known_becomes_the_addresses_of_the_destination() -> None:
    book = {AAAA: after((0, ("2001:db8::1",), 5), question=AAAA), A: after((0, ("198.51.100.10", "198.51.100.9"), 5))}
    shop = Destination("shop", ("shop.example", "198.51.100.7"), ("198.51.100.7/32",), resolved=True)
    pay = Destination("pay", ("shop.example",), ("198.51.100.81/32",), ((443, 443),))

    found = found_by(book)
    assert found == {"shop.example": addresses(book, "shop.example")}
    assert placed(policy(shop, pay), found).destinations == (
        replace(shop, addresses=("198.51.100.7/32", "198.51.100.9/32", "198.51.100.10/32", "2001:db8::1/128")),
        pay,
    )


def test_without_answers_a_policy_stays_the_same_object() -> None:
    same = policy(Destination("shop", ("shop.example",), resolved=True))

    assert placed(same, {}) is same
    assert placed(same, {"other.example": ("198.51.100.1",)}) is same
