"""What ends with a tunnel that is lost, and what drains."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from pointsman.model.connection import Connection
from pointsman.model.tunnel import Lane, State
from pointsman.node import apply
from pointsman.node.moving import Moving
from tests.unit.node.test_holdings import tunnel

A, B = tunnel("a"), tunnel("b")  # with the same address inside
LANES = tuple(Lane("vault", one.name, number << 20, one.device, one.sources) for number, one in enumerate((A, B), 2))


def sent(lane: Lane, port: int, source: str = "10.0.0.2") -> Connection:
    return Connection(source, port, "198.51.100.80", 80, 64001, lane.device, lane.mark | 1)


class Kernel:
    """The socket table of a host: connections stand until they are reset."""

    def __init__(self, *found: Connection) -> None:
        self.found = list(found)

    def standing(self) -> tuple[Connection, ...]:
        return tuple(self.found)

    def reset(self, ended: Any) -> int:
        gone = list(ended)
        self.found = [one for one in self.found if one not in gone]
        return len(gone)


def host(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> apply.Host:
    monkeypatch.setattr(apply, "connections", kernel)
    found = apply.Host.__new__(apply.Host)
    found._cut_off = []
    return found


def test_a_lost_tunnel_ends_nothing_of_one_with_the_same_address(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, others = sent(LANES[0], 1), sent(LANES[1], 2)
    kernel = Kernel(ours, others)
    moving = Moving(host(kernel, monkeypatch), {}, {}, 0.0)

    async def turns() -> list[Lane]:
        await moving.cut((A, B), LANES)
        return await moving.cut((replace(A, state=State.FAILED), B), LANES)

    assert asyncio.run(turns()) == [LANES[0]]
    assert kernel.found == [others]


def test_what_left_from_the_address_before_ends_and_what_leaves_from_the_new_one_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, after = sent(LANES[0], 1), sent(LANES[0], 1, "10.0.0.9")
    kernel = Kernel(before, after)
    moving = Moving(host(kernel, monkeypatch), {}, {}, 0.0)

    async def turns() -> None:
        await moving.cut((A,), LANES)
        await moving.cut((replace(A, sources=("10.0.0.9",)),), LANES)

    asyncio.run(turns())

    assert kernel.found == [after]
