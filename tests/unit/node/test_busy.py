"""Which tunnels carried something since the last look."""

from pointsman.model.tunnel import Lane
from pointsman.node.busy import Busy

A, B = (Lane("p", name, mark, "d", ()) for name, mark in (("a", 0x200000), ("b", 0x300000)))


class Counters:
    def __init__(self) -> None:
        self.counted: dict[str, tuple[int, int]] = {}

    def counters(self) -> dict[str, tuple[int, int]]:
        return self.counted


def test_a_tunnel_is_busy_when_its_lanes_count_has_moved() -> None:
    host, seen = Counters(), Busy(every=0)

    assert seen.look(host, (A, B)) == frozenset()
    host.counted = {"lane_00200000_out": (5, 500)}
    assert seen.look(host, (A, B)) == {"a"}
    assert seen.look(host, (A, B)) == frozenset()


def test_it_does_not_look_all_the_time() -> None:
    host, seen = Counters(), Busy()
    seen.look(host, (A,))
    host.counted = {"lane_00200000_out": (5, 500)}

    assert seen.look(host, (A,)) == frozenset()
