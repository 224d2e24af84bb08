"""Which lanes there are where their numbers run out."""

import pytest

from pointsman.model.problem import Invalid
from pointsman.model.tunnel import Lane
from pointsman.node import lanes
from pointsman.node.lanes import Lanes, lay_lanes
from pointsman.tunnels.select import Chosen
from tests.unit.node.test_holdings import tunnel

TUNNELS = {name: tunnel(name) for name in "abcd"}
HELD = (("vault", "a"), ("vault", "b"), ("vault", "c"), ("vault", "d"))


def laid(spares: str, known: Lanes | None = None) -> Lanes:
    before = (known.numbers, known.every) if known else ({}, ())
    return lay_lanes({}, HELD, TUNNELS, *before, spares)


def tunnels(of: Lanes) -> set[str]:
    return {lane.tunnel for lane in of.every}


def test_lanes_of_spare_tunnels_give_way_where_numbers_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "LANES", (2, 4))

    first = laid("cd")
    taken = laid("c", first)  # somebody was given `d`

    assert tunnels(first) == {"a", "b", "c"}
    assert tunnels(taken) == {"a", "b", "d"}
    assert tunnels(laid("c", taken)) == {"a", "b", "d"}


def test_lanes_that_somebody_uses_do_not_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "LANES", (2, 4))

    with pytest.raises(Invalid, match="4 tunnels, or profiles on tunnels, are wanted"):
        laid("")


def test_what_drains_keeps_its_number_before_spare_tunnels_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "LANES", (2, 4))
    old = Lane("older", "a", 2 << lanes.SHIFT, TUNNELS["a"].device, TUNNELS["a"].sources)

    found = lay_lanes({}, HELD[:3], TUNNELS, {"older@a": 2}, (old,), "bc")

    assert [lane.cluster for lane in found.every] == ["older@a", "vault@a", "vault@b"]


def test_who_shares_comes_first_and_takes_over_from_the_others() -> None:
    shared = Chosen("a", (), ("b", "d"), (("a", 3), ("b", 1), ("c", 1)))

    found = lay_lanes({"vault": shared}, (), TUNNELS, {}, ())

    by_tunnel = {lane.tunnel: lane for lane in found.every}
    assert found.shares == {"vault": ((by_tunnel["a"], 3), (by_tunnel["b"], 1), (by_tunnel["c"], 1))}
    assert found.first == {by_tunnel[name] for name in "abc"}
    assert found.wanted == {by_tunnel[name] for name in "abcd"}
    taking_over = {name: [one.tunnel for one in lanes] for name, lanes in found.nexts.items()}
    assert taking_over == {"vault@a": ["b", "d", "c"], "vault@b": ["a", "d", "c"], "vault@c": ["a", "b", "d"]}
