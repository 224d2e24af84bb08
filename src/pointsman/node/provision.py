"""Who gets which tunnel of a gateway: holders are given one when they need it, and it is replaced and taken back."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from pointsman.model.fault import Fault
from pointsman.model.gateway import Bounds, Gateway, Holder, Made
from pointsman.model.policy import Policy
from pointsman.model.profile import Holding, OnFailure, Profile
from pointsman.model.tunnel import State
from pointsman.node.asks import Answer, Ask, Granted, Refused, holder_named
from pointsman.node.errands import Errands
from pointsman.node.giving import Giving, Nothing
from pointsman.node.holders import REVOKED, Holders
from pointsman.node.holdings import Holdings, source_of, unfit
from pointsman.node.lease_list import listed
from pointsman.node.workshop import Workshop
from pointsman.policy.holding import holder_attribute
from pointsman.system import translations
from pointsman.system.clock import boot_time
from pointsman.system.log import Log
from pointsman.tunnels import demand

# In seconds: how often gateways are looked at
LOOK = 5.0


class Provision:
    """The leases of holders. Concurrent first requests of one holder share one making."""

    def __init__(
        self,
        workshop: Workshop,
        bounds: Bounds,
        log: Log,
        settle: Callable[[], Awaitable[None]],
        state: Callable[[str], State],
        policy: Callable[[], Policy],
        in_force: Callable[[str], bool],
    ) -> None:
        """`in_force` tells whether requests can go by the lane of this name."""
        self._workshop = workshop
        self._holders = Holders(workshop, bounds, policy)
        self._log = log
        self._settle = settle
        self._state = state
        self._policy = policy
        # a thread apart: however many ask, tunnels are tended, and connections proven and cut
        self._asks = ThreadPoolExecutor(1, "asks")
        self._failed: dict[str, float] = {}
        self._in_force = in_force
        self._giving = Giving(workshop, log, in_force)
        self._pending: dict[Holder, asyncio.Task[str]] = {}
        self._errands = Errands()
        self._looked = float("-inf")

    def restore(self) -> None:
        """Take up what an earlier agent has left."""
        self._workshop.restore()

    @property
    def holdings(self) -> Holdings:
        """Return who holds which tunnel, and which wait for a holder."""
        return self._holders.holdings

    async def answer(self, ask: Ask) -> Answer:
        """Return where a request goes that is held."""
        policy, profile = self._policy(), self._holders.profile(ask.profile)
        if profile is None or profile.holding is None:
            return Refused("the policy has changed; try again")
        attribute = holder_attribute(profile.holding, policy.attributes)
        asking = asyncio.get_running_loop().run_in_executor(
            self._asks, holder_named, ask, attribute, translations.owner
        )
        key = await asking
        if key is None:
            return Refused(f"profile `{profile.name}`: nobody is known whose tunnel it could be")
        source = source_of(profile.holding, policy)
        return await self.hold(profile, profile.holding, Holder(profile.name, key, source))

    async def hold(self, profile: Profile, holding: Holding, holder: Holder) -> Answer:
        """Return the cluster of a holder, having made its tunnel where it has none; or why there is none in time."""
        one = self._holders.of(holder)
        down = one is not None and not self._workshop.carries(one.name) and profile.on_failure is OnFailure.NEXT
        if one is not None and down and not self._waits(one.name):
            replacing = self._errands.begin(one.name, self._replace(one, demand.DOWN))
            await asyncio.wait([replacing], timeout=holding.wait)
            one = self._holders.of(holder)
        if one is None:
            task = self._pending.get(holder)
            if task is None:
                if why := self._holders.objection(holder, self._pending):
                    return Refused(f"profile `{profile.name}`: {why}")
                task = self._pending[holder] = asyncio.create_task(self._acquire(profile, holder))
                task.add_done_callback(lambda _: self._pending.pop(holder, None))
            await asyncio.wait([task], timeout=holding.wait)
            if not task.done():
                return Refused(f"profile `{profile.name}`: its tunnel was not made within {holding.wait:g} s")
            if why := task.result():
                return Refused(f"profile `{profile.name}`: {why}")
            one = self._holders.of(holder)
        if one is None or not self._workshop.carries(one.name):
            return Refused(f"profile `{profile.name}`: its tunnel is not up")
        return await self._by(f"{profile.name}@{one.name}", profile)

    async def _by(self, lane: str, profile: Profile) -> Answer:
        """Return the lane once it is in force; one that was a spare's or a successor's a moment ago may not be yet."""
        if not self._in_force(lane):
            try:
                await self._settle()
            except Fault as fault:
                self._log.fault(fault)
        return Granted(lane) if self._in_force(lane) else Refused(f"profile `{profile.name}`: its tunnel is not up")

    def used(self, tunnels: frozenset[str]) -> None:
        """Note that these carried something just now."""
        now, made = boot_time(), self._workshop.made
        for name in tunnels & made.keys():
            made[name] = replace(made[name], used=now)

    def turn(self) -> None:
        """Begin what is due."""
        now, policy, made = boot_time(), self._policy(), self._workshop.made
        gateways = self._workshop.gateways
        self._forget(now)
        self._errands.reap()
        self._workshop.unwritten.write()
        done = self._workshop.done()
        states = {one.name: self._state(one.name) for one in done}
        against = {one.name: unfit(one, policy) for one in done}
        for order in demand.due(
            done, states, policy.profiles, gateways.values(), self._giving.taken, self._failed, against, now
        ):
            match order:
                case demand.Replace(tunnel, why):
                    self._errands.begin(tunnel, self._replace(made[tunnel], why))
                case demand.Retire(tunnel, why, drain):
                    self._retire(tunnel, why, drain)
                case demand.Remove(tunnel):
                    self._errands.begin(tunnel, self._workshop.remove(tunnel))
                case demand.Spare(name):
                    self._errands.begin(name, self._spare(gateways[name]))
        if now - self._looked >= LOOK:
            for gateway in gateways.values():
                self._errands.begin(f"look {gateway.name}", self._workshop.look(gateway))
            self._looked = now

    async def revoke(self, profile: str, key: str, ban: float) -> bool:
        """End a lease now; for `ban` seconds the holder gets no other. Return whether there was one."""
        if ban:
            self._holders.ban(profile, key, boot_time() + ban)
        held = self._holders.tunnels(profile, key)
        for name in held:
            self._retire(name, "it was revoked", 0.0)
        if held:
            await self._settle()
        for name in held:
            await self._workshop.remove(name)
        return bool(held)

    async def rotate(self, tunnel: str) -> str:
        """Have a tunnel with new keys take this one's place; return its name."""
        one = self._workshop.made.get(tunnel)
        if one is None or one.holder is None or one.leaving is not None:
            raise ValueError(f"`{tunnel}` is no tunnel that somebody holds; see `pointsman leases list`")
        await self._replace(one, "somebody asked for new keys")
        after = self._holders.of(one.holder)
        if after is None or after.name == tunnel:
            raise Fault("rotation-failed", f"replace tunnel `{tunnel}`", "no gateway gives another one now")
        return after.name

    async def stop(self) -> tuple[Fault, ...]:
        """End what is under way, and take all tunnels away at their gateways."""
        for task in self._pending.values():
            task.cancel()
        # what is in the making is known to be there only when its maker has ended
        await asyncio.gather(*self._pending.values(), self._errands.end(), return_exceptions=True)
        return await self._workshop.close()

    def key_ages(self) -> dict[str, float]:
        """Return how long the keys of each tunnel have been used, in seconds: they are as old as the tunnel."""
        now = boot_time()
        return {name: now - one.since for name, one in self._workshop.made.items()}

    def told(self) -> dict[str, Any]:
        """Return leases and spares for people and programs. Times are in seconds."""
        return listed(self.holdings, self._workshop.made, self._state, self._workshop.far_ends.silent, boot_time())

    def _forget(self, now: float) -> None:
        """Drop what no longer counts, so that nothing grows with the number of requests."""
        self._failed = {name: at for name, at in self._failed.items() if now - at <= demand.RECENT}
        self._giving.forget(now)
        self._holders.forget(now)

    def _waits(self, tunnel: str) -> bool:
        """Return whether a replacement failed so lately that it is not tried again yet."""
        return boot_time() < self._failed.get(tunnel, -demand.PAUSE) + demand.PAUSE

    async def _acquire(self, profile: Profile, holder: Holder, avoid: str = "") -> str:
        """Give a holder a tunnel; return why that did not work, nothing where it did."""
        given = await self._giving.give(profile, holder, avoid)
        if isinstance(given, Nothing):
            return given.why
        if self._holders.is_banned(holder):
            self._retire(given.tunnel, "it was revoked", 0.0)
            return REVOKED
        self._log.event("a holder has a tunnel", profile=holder.profile, holder=holder.key, tunnel=given.tunnel)
        return ""

    async def _replace(self, one: Made, why: str) -> None:
        """Have another tunnel take this one's place; until that one is up, this one goes on."""
        holder = one.holder
        profile = None if holder is None else self._holders.profile(holder.profile)
        if holder is None or profile is None:
            return
        avoid = "" if self._workshop.carries(one.name) else one.gateway
        if await self._acquire(profile, holder, avoid):
            self._failed[one.name] = boot_time()
        else:
            self._retire(one.name, why, demand.DRAIN)

    async def _spare(self, gateway: Gateway) -> None:
        try:
            await self._workshop.make(gateway, None, None)
        except Fault as fault:
            self._log.fault(fault)
            self._failed[gateway.name] = boot_time()

    def _retire(self, tunnel: str, why: str, drain: float) -> None:
        """Give a tunnel no more requests. One that leaves already, or is gone, was revoked meanwhile and stays so."""
        one = self._workshop.made.get(tunnel)
        if one is None or one.leaving is not None:
            return
        holder = one.holder.key if one.holder is not None else ""
        self._log.event("a tunnel leaves", tunnel=tunnel, holder=holder, why=why)
        self._workshop.retire(tunnel, boot_time() + drain)
