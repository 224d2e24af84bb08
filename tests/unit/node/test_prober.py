"""What is known of a path outlives a moment in which it cannot be asked."""

import asyncio
import os
from collections.abc import Callable

import pytest

from pointsman.lab.wait import until
from pointsman.model.fault import Fault
from pointsman.model.profile import Health
from pointsman.node import prober
from pointsman.node.prober import Prober, Target
from pointsman.system.log import Log

QUICK = Target("pm0", "10.71.0.1", "10.71.0.2", Health(interval=0.01, down=3))


class Silence:
    """A line that nobody answers. Its address is there or not."""

    there = True

    def __init__(self, *path: str) -> None:
        if not Silence.there:
            raise Fault("probe", "probe", "its address is away")
        self._ends = os.pipe()

    def fileno(self) -> int:
        return self._ends[0]

    def ask(self, nonce: bytes) -> bool:
        return Silence.there

    def answers(self) -> list[bytes]:
        return []

    def close(self) -> None:
        for end in self._ends:
            os.close(end)


async def reached(holds: Callable[[], bool]) -> None:
    await asyncio.to_thread(until, holds, "it is so", within=5, every=0.001)


def test_a_path_that_was_dead_when_it_could_not_be_asked_any_more_is_dead_when_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prober, "Line", Silence)

    async def story() -> None:
        found = Prober(lambda: None, Log())
        asking = asyncio.create_task(found.run())
        found.watch({"a": QUICK}, {"a"})
        await reached(lambda: found.pulses["a"][0].dead)

        found.watch({}, {"a"})
        assert found.pulses["a"][0].dead
        found.watch({"a": QUICK}, {"a"})
        assert found.pulses["a"][0].dead

        monkeypatch.setattr(Silence, "there", False)
        await reached(lambda: found._watches["a"].broken)
        found.watch({"a": QUICK}, {"a"})
        assert (found.pulses["a"][0].dead, found._watches) == (True, {})
        monkeypatch.setattr(Silence, "there", True)
        found.watch({"a": Target("pm0", "10.71.0.1", "10.71.0.9", QUICK.limits)}, {"a"})
        assert not found.pulses["a"][0].dead

        found.watch({}, ())
        assert found.pulses == {}
        asking.cancel()

    asyncio.run(story())
