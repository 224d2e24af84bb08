from dataclasses import replace

import pytest

from pointsman.model.profile import Level
from pointsman.model.tunnel import Kind, Lane, State, Tunnel
from pointsman.node.balance import Judgement, Reading, balance, drops
from pointsman.node.proof import Finding, Reason

A = Tunnel("a", Kind.WIREGUARD, Level.STRONG, (), State.UP, "pma", ("10.71.0.2",), (), 7100, 1420)
DIRECT = Tunnel("direct", Kind.DIRECT, Level.NONE, (), State.UP, "eth0", ("192.0.2.10",), (), 254, 1500)
LANES = (Lane("x", "a", 0x00200000, "pma", ()), Lane("y", "a", 0x00300000, "pma", ()))
OUT_X, OUT_Y = "lane_00200000_out", "lane_00300000_out"
MILLION = 1_000_000


def reading(x: int = 0, y: int = 0, took: int = 0, device: int = 0, tunnel: Tunnel = A) -> Reading:
    guard = {OUT_X: (x // 1000, x), OUT_Y: (y // 1000, y), "lane_00200000_in": (9, 9999), "dropped_proxy": (1, 60)}
    return Reading((tunnel,), LANES, guard, {tunnel.name: took}, {tunnel.device: device}, {tunnel.device: device})


START = reading(5, 5, 7, 9)


@pytest.mark.parametrize(
    ("guard", "took", "device", "judgement"),
    [
        ((0, 0), 0, 0, Judgement.RIGHT),
        ((0, 0), 148 + 32 * 5, 5 * 84, Judgement.RIGHT),  # a handshake, keepalives, probes
        ((MILLION, MILLION), 2 * MILLION + 64000, 2 * MILLION, Judgement.RIGHT),
        ((MILLION, MILLION), 5 * MILLION, 2 * MILLION, Judgement.RIGHT),  # small packets, large overhead
        ((MILLION, MILLION), 2 * MILLION, 2 * MILLION + 150_000, Judgement.RIGHT),  # large packets, split later
        ((MILLION, MILLION), 1_850_000, 1_850_000, Judgement.RIGHT),  # some dropped in a full queue
        ((MILLION, MILLION), MILLION, 2 * MILLION, Judgement.WRONG),  # the tunnel saw half of it
        ((200_000, 0), 0, 0, Judgement.WRONG),
        ((MILLION, MILLION), 5 * MILLION, 3 * MILLION, Judgement.WRONG),  # a million that no lane counted
        ((0, 0), 0, 70_000, Judgement.WRONG),
    ],
)
def test_a_tunnel_takes_what_its_lanes_let_out_and_little_else(
    guard: tuple[int, int], took: int, device: int, judgement: Judgement
) -> None:
    end = reading(5 + guard[0], 5 + guard[1], 0, 9 + device)

    [found] = balance(START, end, {"a": 7 + took})

    assert (found.guard, found.sent, found.judgement) == (sum(guard), took, judgement)
    assert (found.finding is not None) == (judgement is Judgement.WRONG)


def test_a_finding_has_both_sides() -> None:
    [short] = balance(START, reading(5 + MILLION, 5), {"a": 7})
    [stray] = balance(START, reading(5, 5, 0, 9 + MILLION), {"a": 7})

    assert short.finding == Finding(Reason.SHORT, "a: 1000000 bytes by the guard", "it took 0 bytes")
    assert stray.finding == Finding(Reason.STRAY, "a: 0 bytes by the guard", "pma sent 1000000 bytes")


@pytest.mark.parametrize(
    ("end", "took", "why"),
    [
        (reading(0, 0), 7, "the guard began to count anew"),
        (reading(5 + MILLION, 5), 0, "it began to count anew"),
        (reading(5 + MILLION, 5, tunnel=replace(A, state=State.FAILED)), 7, "it was not up all the time"),
        (reading(5 + MILLION, 5, tunnel=replace(A, device="pmb")), 7, "it was not up all the time"),
    ],
)
def test_what_cannot_be_compared_is_unknown(end: Reading, took: int, why: str) -> None:
    [found] = balance(START, end, {"a": took})

    assert (found.judgement, found.why, found.finding) == (Judgement.UNKNOWN, why, None)


def test_a_tunnel_that_was_down_and_was_sent_nothing_is_right() -> None:
    down = replace(A, state=State.FAILED)
    [found] = balance(reading(5, 5, tunnel=down), reading(5, 5, tunnel=down), {})

    assert found.judgement is Judgement.RIGHT


X, Y = LANES
GONE = replace(reading(), tunnels=(), lanes=(), guard={})


@pytest.mark.parametrize(
    ("end", "sent"),
    [
        (replace(GONE, gone={X: (0, 500_005), Y: (0, 5)}), 500_000),
        (replace(reading(500_005, 5), tunnels=()), 500_000),  # its lanes are still there
        (replace(GONE, gone={X: (0, 5), Y: None}), 0),
        (replace(GONE, guard={OUT_X: (0, 5)}), 0),  # somebody took the other counter away
    ],
)
def test_what_a_tunnel_took_that_went_away_is_unknown(end: Reading, sent: int) -> None:
    [found] = balance(START, end, {})

    assert (found.tunnel, found.guard, found.judgement, found.why) == ("a", sent, Judgement.UNKNOWN, "it went away")


def test_a_tunnel_that_came_and_went_between_two_readings_is_unknown_too() -> None:
    none = replace(GONE, lanes=())
    used, idle = (replace(GONE, gone={X: count}) for count in ((1, 999), (0, 0)))

    assert [found.why for found in balance(none, used, {})] == ["it went away"]
    assert balance(none, idle, {}) == ()


def test_an_idle_tunnel_that_goes_makes_nothing_unknown() -> None:
    assert balance(START, replace(GONE, gone={X: (0, 5), Y: (0, 5)}), {}) == ()
    assert balance(START, replace(reading(5, 5), tunnels=()), {}) == ()


def test_what_went_by_a_lane_that_is_gone_counts_for_its_tunnel() -> None:
    end = replace(reading(5, 5, 0, 9 + MILLION), lanes=(Y,), guard={OUT_Y: (0, 5)}, gone={X: (1000, 5 + MILLION)})

    [right], [short] = balance(START, end, {"a": 7 + MILLION}), balance(START, end, {"a": 7})

    assert (right.guard, right.judgement, short.judgement) == (MILLION, Judgement.RIGHT, Judgement.WRONG)


def test_what_others_send_by_an_uplink_is_no_finding() -> None:
    lanes = (Lane("z", "direct", 0x00200000, "eth0", ()),)
    ends = [replace(reading(0, 0, 0, sent, DIRECT), lanes=lanes) for sent in (0, 9 * MILLION)]

    [found] = balance(ends[0], ends[1], {"direct": 9 * MILLION})

    assert found.judgement is Judgement.RIGHT


def test_what_a_lane_that_is_gone_had_counted_is_no_stray() -> None:
    end = replace(reading(5, 0, 0, 9 + MILLION), guard={OUT_X: (0, 5)})

    [found] = balance(START, end, {"a": 7 + MILLION})

    assert found.judgement is Judgement.RIGHT


def test_only_what_was_held_more_than_before_is_told() -> None:
    before = {"dropped_proxy": (1, 60), "dropped_owned": (5, 300), "lane_00200000_out": (1, 1)}
    after = {"dropped_proxy": (4, 240), "dropped_owned": (5, 300), "dropped_entry": (2, 99), "refused_tcp": (7, 7)}

    assert drops(before, after) == {"dropped_entry": 2, "dropped_proxy": 3}
