"""The guard as text, compared with files that a reviewer can read. `POINTSMAN_GOLDEN=write` writes them anew."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from pointsman.dataplane.capture import compile_capture
from pointsman.dataplane.entries import plan
from pointsman.dataplane.guard import GuardSpec, Inbound, Outer, State, guard_text
from pointsman.dataplane.treatment import treatments
from pointsman.model.diagram import Branch, Leaf, Listing, Node, Switch
from pointsman.model.entry import Mode
from pointsman.model.formula import TRUE, And, AtLeast, Atom, Equals, Matches, Not, Within
from pointsman.model.policy import Destination
from pointsman.model.profile import Level, Limits, Profile, Qos
from pointsman.model.tunnel import Lane

GOLDEN = Path(__file__).parents[2] / "golden"
LANES = (
    Lane("gold", "wg-a", 0x00200000, "pm0a", ("10.71.0.2", "fd71::2")),
    Lane("plain", "direct", 0x00300000, "eth0", ("192.0.2.10", "2001:db8:1::10")),
)
PROFILES = (
    Profile("gold", Level.STRONG, qos=Qos.INTERACTIVE, limits=Limits(bandwidth=10_000_000)),
    Profile("plain", Level.NONE, qos=Qos.BULK),
)
ENTRIES = plan([2001], ["gold@wg-a", "plain@direct"], [Mode.HTTP, Mode.AUTO, Mode.TCP])
GOLD, PLAIN, DENY = Leaf(0), Leaf(1), Leaf(2)
CLUSTER = {0: "gold@wg-a", 1: "plain@direct", 2: ""}
PORTS = [(Mode.HTTP, ((80, 80),)), (Mode.AUTO, ((7000, 7009),)), (Mode.TCP, ((7010, 7010),))]
NEAR = Atom("destination.address", Within("198.51.100.0/30"))
TREE: Node = Switch(
    "process.uid",
    {2001: GOLD, 2002: Switch("destination.port", {7000: PLAIN}, DENY, DENY)},
    Branch(
        Atom("destination.address", Within("2001:db8:2:1::/64")),
        PLAIN,
        Listing(((And((Not(NEAR), Atom("destination.port", AtLeast(7005)))), GOLD), (TRUE, DENY))),
        DENY,
    ),
    DENY,
)
DESTINATIONS = (
    Destination("net", addresses=("198.51.100.0/24", "2001:db8:2::/48")),
    Destination("one", addresses=("198.51.100.80/32",), ports=((7000, 7005),)),
)


def captured(tree: Node = TREE, destinations: tuple[Destination, ...] = DESTINATIONS):
    return compile_capture(
        PORTS, ENTRIES, destinations, lambda names: tree if names == ("net",) else DENY, lambda leaf: CLUSTER[leaf.rule]
    )


CLOSED = GuardSpec(
    64001,
    64002,
    State.CLOSED,
    exempt_uids=frozenset({33}),
    link_uids=frozenset({0}),
    uplinks=("eth0",),
    framed=("eth0",),
    inbound=(Inbound("tcp", ((22, 22),)),),
    lanes=LANES,
    probes=(("10.71.0.1", "pm0a"), ("fd71::1", "pm0a")),
    treatments=treatments(PROFILES),
    endpoints=(Outer("udp", "192.0.2.21", 51820), Outer("udp", "2001:db8:1::22", 51820, kernel=True)),
    resolvers=(("192.0.2.1", 53),),
    capture=captured(),
)


@pytest.mark.parametrize("state", list(State))
def test_the_guard_is_written_as_the_golden_file_says(state: State) -> None:
    text = guard_text(replace(CLOSED, state=state))
    file = GOLDEN / f"guard_{state}.nft"
    if os.environ.get("POINTSMAN_GOLDEN") == "write":
        file.write_text(text)

    assert text == file.read_text()


def test_the_same_guard_is_always_the_same_text() -> None:
    spec = replace(CLOSED, state=State.OPEN)

    assert guard_text(replace(spec, lanes=tuple(reversed(spec.lanes)))) == guard_text(spec)


def test_counters_start_where_they_were() -> None:
    assert "counter refused_tcp {\n    packets 7 bytes 420\n" in guard_text(CLOSED, {"refused_tcp": (7, 420)})


def test_a_lane_has_its_own_queue_only_where_its_device_has_queues() -> None:
    text = guard_text(replace(CLOSED, state=State.OPEN, queued=frozenset({"pm0a"})))

    assert re.findall("meta priority set (.*)", text.partition("chain final")[2]) == ["7112:2", "0:2"]


def test_outer_packets_get_their_code_point_by_their_local_port_and_are_judged_as_before() -> None:
    spec = replace(CLOSED, state=State.OPEN)
    text = guard_text(replace(spec, outer_dscp=((40001, 18), (40002, 1))))
    ways = "udp sport vmap { 40001 : jump outer_18, 40002 : jump outer_1 }"

    assert text.count(f"oifname @uplinks {ways}") == 1
    assert text.count(f"oifname @uplinks meta mark & 0x3ff00000 == 0x00100000 meta l4proto udp {ways}") == 1
    rest = re.sub(r"  chain outer_\d+ \{.*?\}\n", "", text, flags=re.DOTALL)
    assert [line for line in rest.splitlines() if ways not in line] == guard_text(spec).splitlines()


@pytest.mark.parametrize("name", ["", "eth*", 'e"', "a b", "eth0;", "0123456789abcdef", "e\n"])
def test_a_device_name_that_could_be_read_as_something_else_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="device name"):
        guard_text(replace(CLOSED, framed=(name,)))


@pytest.mark.parametrize("text", ["192.0.2.1 accept", "::1/0", "example.org"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\d|example|not appear|host bits"):
        guard_text(replace(CLOSED, state=State.OPEN, resolvers=((text, 53),)))


def chain(capture, name: str) -> tuple[str, ...]:
    return next(found.rules for found in capture.chains if found.name == name)


def test_not_in_a_network_of_one_family_holds_for_the_other_family() -> None:
    tree = Listing(((Not(NEAR), GOLD), (TRUE, DENY)))

    assert chain(captured(tree), "n0") == (
        "meta nfproto ipv6 goto lane1",
        "ip daddr != 198.51.100.0/30 goto lane1",
        "goto refused",
    )


def test_a_condition_that_the_kernel_cannot_tell_refuses_what_comes_after_it() -> None:
    path = Atom("request.path", Matches("^/a"))
    tree = Listing(((Atom("process.uid", Equals(5)), GOLD), (path, GOLD), (TRUE, PLAIN)))
    capture = captured(tree)

    assert chain(capture, "n0") == ("meta skuid 5 goto lane1", "goto refused")
    assert len(capture.unwritten) == 1


def test_destinations_that_share_addresses_are_told_apart_by_port() -> None:
    assert chain(captured(), "captured")[-3] == (
        "ip daddr vmap { 198.51.100.0-198.51.100.79 : goto zone0, 198.51.100.80 : goto zone1, "
        "198.51.100.81-198.51.100.255 : goto zone0 }"
    )
    assert chain(captured(), "zone1") == (
        "tcp dport vmap { 0-6999 : goto n0, 7000-7005 : goto refused, 7006-65535 : goto n0 }",
    )
