"""Each path is held to what its profiles say, and what is known of it outlives a moment in which it cannot be asked."""

import asyncio
import os
from collections.abc import Callable

import pytest

from pointsman.lab.wait import until
from pointsman.model.fault import Fault
from pointsman.model.profile import Health
from pointsman.node import prober
from pointsman.node.prober import Prober, Target, targets
from pointsman.policy.load import load_policy
from pointsman.system.log import Log
from tests.unit.tunnels.samples import tunnel

POLICY = """
apiVersion: pointsman/v1
kind: Policy
metadata: {name: test}
profiles:
  - {name: often, encryption: strong, select: {names: [a, b]}, health: {interval: 50ms, down: 6, up: 2, latency: 80ms}}
  - {name: soon, encryption: strong, select: {names: [a]}, health: {interval: 1s, down: 2, up: 9, loss: 5%}}
  - {name: usual, encryption: strong, select: {names: [c]}}
"""
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


def test_a_path_is_held_to_the_strictest_of_the_profiles_that_may_use_it() -> None:
    policy = load_policy(POLICY.encode(), "p.yaml", lambda _: b"")

    found = targets(policy, [tunnel(name, probe="10.71.0.1") for name in ("a", "b", "c", "d")])

    assert {name: target.limits for name, target in found.items()} == {
        "a": Health(interval=0.05, down=2, up=9, loss=0.05, latency=0.08),
        "b": Health(interval=0.05, down=6, up=2, loss=0.2, latency=0.08),
        "c": Health(),
        "d": Health(),
    }


def test_what_a_path_is_held_to_decides_when_it_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prober, "Line", Silence)
    patient = Target("pm1", "10.71.0.1", "10.71.0.2", Health(interval=0.01, down=12))

    async def story() -> None:
        found = Prober(lambda: None, Log())
        asking = asyncio.create_task(found.run())
        found.watch({"quick": QUICK, "patient": patient}, {"quick", "patient"})
        await reached(lambda: found.pulses["quick"][0].dead and found.pulses["patient"][0].dead)
        asking.cancel()

        losses = {name: pulse.losses for name, (pulse, _) in found.pulses.items()}
        assert losses["quick"] >= losses["patient"] >= 12
        assert {name: limits.down for name, (_, limits) in found.pulses.items()} == {"quick": 3, "patient": 12}

    asyncio.run(story())


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
