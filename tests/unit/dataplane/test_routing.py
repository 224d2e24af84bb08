"""Tables and rules of the lanes, and the order of the steps that lead there."""

from dataclasses import replace

from pointsman.dataplane.routing import routing_steps, want_routing
from pointsman.model.profile import Level
from pointsman.model.routing import Bound, Drop, Put, Route, Routing, Rule
from pointsman.model.tunnel import Kind, Lane, State, Tunnel

MASK = 0x3FF00000
A = Tunnel("a", Kind.WIREGUARD, Level.STRONG, (), State.UP, "pma", ("10.71.0.2",), (), 7101, 1420)
DIRECT = Tunnel("d", Kind.DIRECT, Level.NONE, (), State.UP, "eth0", ("192.0.2.10",), (), 254, 1500)
GOLD = Lane("gold", "a", 0x00200000, "pma", ("10.71.0.2",))
PLAIN = Lane("plain", "d", 0x00300000, "eth0", ("192.0.2.10",))
DEAD_4, DEAD_6 = Route(7101, 4, "", 4278198272), Route(7101, 6, "", 4278198272)
WAY = Route(7101, 4, "pma", 100)
RULES = [Rule(7102, 4, 0x00200000, MASK, 7101), Rule(7102, 6, 0x00200000, MASK, 7101)]


def test_every_tunnels_table_ends_in_unreachable_in_both_families() -> None:
    assert want_routing([A], [GOLD], MASK) == Routing(frozenset({DEAD_4, DEAD_6, WAY}), frozenset(RULES))


def test_what_is_bound_to_a_tunnel_s_device_finds_only_its_table_over_ipv6_whatever_its_mark() -> None:
    both = replace(A, sources=("10.71.0.2", "fd71::2"))
    found = want_routing([both, DIRECT], [GOLD, PLAIN], MASK).rules

    assert {rule for rule in found if isinstance(rule, Bound)} == {Bound(8124, 6, "pma", 7101)}
    assert max(rule.preference for rule in found if isinstance(rule, Rule)) < 8124


def test_direct_uses_the_main_table_and_has_no_route_of_ours() -> None:
    assert want_routing([DIRECT], [PLAIN], MASK) == Routing(
        frozenset(), frozenset({Rule(7103, 4, 0x00300000, MASK, 254), Rule(7103, 6, 0x00300000, MASK, 254)})
    )


def test_dead_ends_come_first_and_ways_last_and_back_again() -> None:
    want = want_routing([A], [GOLD], MASK)
    puts = [Put(part) for part in (DEAD_4, DEAD_6, *RULES, WAY)]
    drops = [Drop(part) for part in (WAY, *reversed(RULES), DEAD_6, DEAD_4)]

    assert routing_steps(want, Routing()) == tuple(puts)
    assert routing_steps(Routing(), want) == tuple(drops)
    assert routing_steps(want, want) == ()


def test_a_new_way_is_there_before_the_old_one_goes() -> None:
    have = want_routing([A], [GOLD], MASK)
    want = want_routing([replace(A, device="pmb")], [GOLD], MASK)

    assert routing_steps(want, have) == (Put(replace(WAY, device="pmb")), Drop(WAY))
