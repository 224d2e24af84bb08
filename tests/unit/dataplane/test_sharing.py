"""Shares of connections: the proxy's thresholds and the kernel's ranges hold the same weights."""

from dataclasses import replace

from pointsman.dataplane.capture import chosen, compile_capture
from pointsman.dataplane.sharing import by_connection, by_family, by_port
from pointsman.model.diagram import Leaf
from pointsman.model.entry import Entry, Mode
from pointsman.model.tunnel import Lane


def lane(tunnel: str, number: int) -> Lane:
    return Lane("p", tunnel, number << 20, f"dev-{tunnel}", ("10.0.0.1",))


A, B, C = lane("a", 2), lane("b", 3), lane("c", 4)


def test_the_proxy_asks_for_the_highest_threshold_first() -> None:
    found = by_connection([({"to": "a"}, 3), ({"to": "b"}, 1), ({"to": "c"}, 4)])

    matcher = found["matcher"]
    asked = [
        (one["predicate"]["single_predicate"]["custom_match"]["typed_config"], one["on_match"]["to"])
        for one in matcher["matcher_list"]["matchers"]
    ]
    assert [(config["threshold"], config["modulo"], to) for config, to in asked] == [(4, 8, "c"), (3, 8, "b")]
    assert matcher["on_no_match"] == {"to": "a"}


def test_the_kernel_has_ranges_of_the_same_size() -> None:
    assert by_port([("x", 3), ("y", 1), ("z", 4)]).endswith(
        "mod 8 seed 0x706d vmap { 0-2 : goto x, 3 : goto y, 4-7 : goto z }"
    )


def test_plain_flows_of_a_shared_profile_are_shared_and_who_has_no_entry_refuses_its_part() -> None:
    entries = [Entry(20000, Mode.TCP, None), Entry(20001, Mode.TCP, None, "p@a"), Entry(20002, Mode.TCP, None, "p@b")]

    capture = compile_capture(
        [(Mode.TCP, ((1, 65535),))], entries, (), lambda _: Leaf(0), lambda _: "p@a", {"p": ((A, 2), (B, 1), (C, 1))}
    )

    chains = {chain.name: chain.rules for chain in capture.chains}
    rule, last = chains["shared0"]
    named = {lines[0].split("set ")[1].split()[0]: name for name, lines in chains.items() if name.startswith("lane")}
    assert chains["captured"][-1] == "goto shared0"
    assert last == "goto refused"
    assert f"0-1 : goto {named[chosen(20001)]}, 2 : goto {named[chosen(20002)]}, 3 : goto refused" in rule


def test_flows_of_a_family_are_shared_among_the_lanes_that_carry_it() -> None:
    both = replace(A, sources=("10.0.0.1", "fd00::1"))

    assert [rule.partition(" jhash ")[0] for rule in by_family([(both, 1), (B, 1)], lambda lane: lane.tunnel)] == [
        "meta nfproto ipv4",
        "meta nfproto ipv6",
    ]
    assert by_family([(both, 1), (B, 1)], lambda lane: lane.tunnel)[1].endswith("mod 1 seed 0x706d vmap { 0 : goto a }")
    assert len(by_family([(both, 1), (replace(both, tunnel="c"), 1)], lambda lane: lane.tunnel)) == 1
    (only_four,) = by_family([(A, 1), (B, 1)], lambda lane: lane.tunnel)
    assert only_four.startswith("meta nfproto ipv4 ")
