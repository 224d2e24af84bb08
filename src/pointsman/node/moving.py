"""Moves of profiles from tunnel to tunnel, as the agent makes them: who may move, what is cut, what drains."""

import asyncio
import math
from collections.abc import Iterable, Mapping

from pointsman.model.policy import Policy
from pointsman.model.tunnel import Kind, Lane, Lease, State, Tunnel
from pointsman.node.apply import Host
from pointsman.node.draining import drained, unfit_lanes
from pointsman.node.plan import Plan
from pointsman.tunnels.health import Pulse
from pointsman.tunnels.moves import Standing, resting, standings, well_since


class Moving:
    """Remembers where each profile stands, which tunnels carried, and until when lanes drain. Times are in seconds.

    `stays` and `draining` are how an earlier agent left it.
    """

    def __init__(self, host: Host, stays: Mapping[str, str], draining: Mapping[Lane, float], now: float) -> None:
        self._host = host
        self._standings = {name: Standing(tunnel, now) for name, tunnel in stays.items()}
        self._carrying: dict[str, tuple[str, ...]] = {}
        self._well: Mapping[str, float] = {}
        self.draining: Mapping[Lane, float] = draining

    def stands(
        self,
        policy: Policy,
        tunnels: Iterable[Tunnel],
        leases: Iterable[Lease],
        pulses: Mapping[str, Pulse],
        ready: bool,
        now: float,
    ) -> dict[str, str]:
        """Return by profile the tunnel that it stays on. Only a `ready` pool has a first choice worth staying on."""
        pooled = [profile for profile in policy.profiles if profile.holding is None]
        latency = {name: pulse.latency for name, pulse in pulses.items() if pulse.latency is not None}
        found = standings(pooled, tunnels, leases, latency, self._standings, now)
        self._standings = {name: one for name, one in found.items() if ready or name in self._standings}
        return {name: standing.tunnel for name, standing in self._standings.items()}

    def rests(self, policy: Policy, tunnels: Iterable[Tunnel], now: float) -> dict[str, frozenset[str]]:
        """Return by profile the tunnels that it is too early to share with again."""
        self._well = well_since(tunnels, self._well, now)
        return resting(policy.profiles, self._well, now)

    def old(self, lanes: Iterable[Lane], now: float) -> tuple[Lane, ...]:
        """Return those of these lanes whose time is not over."""
        return tuple(lane for lane in lanes if self.draining.get(lane, math.inf) > now)

    async def cut(self, tunnels: Iterable[Tunnel], lanes: Iterable[Lane]) -> list[Lane]:
        """End what waits for answers of tunnels that carry no more, and return those of these lanes that are theirs.

        It goes by the next lane, as its route says, before any plan is made.
        """
        alive = [t for t in tunnels if t.state.carries or t.state is State.DRAINING]
        carrying = {t.name: t.sources for t in alive if t.kind is not Kind.DIRECT}
        gone = {name for name, were in self._carrying.items() if carrying.get(name) != were}
        lost = [lane for lane in lanes if lane.tunnel in gone]
        await asyncio.to_thread(self._host.cut, lost)
        self._carrying = carrying
        return lost

    async def drain(
        self, before: frozenset[Lane], plan: Plan, policy: Policy, tunnels: Iterable[Tunnel], now: float
    ) -> None:
        """End what is on lanes that were left, when its time is over. `before` are those that were first until now.

        `tunnels` are those of the pool.
        """
        gone = (lane for lane in plan.lanes if lane not in plan.wanted)
        left = {lane for lane in (*before, *gone) if lane not in plan.first}
        ends = {lane: end for lane, end in self.draining.items() if lane not in plan.first}
        until = drained(plan.lanes, left, ends, policy.profiles, unfit_lanes(plan.lanes, policy, tunnels), now)
        kept = [lane for lane, end in until.items() if end == math.inf]
        over = {lane for lane, end in until.items() if end <= now} | await asyncio.to_thread(self._host.idle, kept)
        await asyncio.to_thread(self._host.end, over)
        # a lane that stands by for others stays; one that nobody wants goes with the next plan
        self.draining = {
            lane: now if lane in over else end
            for lane, end in until.items()
            if lane not in over or lane not in plan.wanted
        }
