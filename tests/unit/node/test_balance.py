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
