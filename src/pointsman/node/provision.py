"""Who gets which tunnel of a gateway: holders are given one when they need it, and it is replaced and taken back."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

from pointsman.model.fault import Fault
from pointsman.model.gateway import Bounds, Gateway, Holder, Made
from pointsman.model.policy import Policy
from pointsman.model.profile import Holding, OnFailure, Profile
from pointsman.model.tunnel import Lease, State, Tunnel
from pointsman.node.asks import Answer, Ask, Granted, Refused, holder_named
from pointsman.node.holdings import Holdings
from pointsman.node.workshop import Workshop
from pointsman.policy.holding import holder_attribute
from pointsman.system import connections
from pointsman.system.clock import boot_time
from pointsman.system.log import Log
from pointsman.tunnels import demand
from pointsman.tunnels.select import Chosen, select

# In seconds: how often gateways are looked at, and tunnels renewed
LOOK = 5.0
RENEW = 30.0
_REVOKED = "its lease was revoked"


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
    ) -> None:
        self._workshop = workshop
        self._bounds = bounds
        self._log = log
        self._settle = settle
        self._state = state
        self._policy = policy
        self._taken: dict[str, list[float]] = {}
        self._failed: dict[str, float] = {}
        self._banned: dict[Holder, float] = {}
        self._pending: dict[Holder, asyncio.Task[str]] = {}
        self._working: dict[str, asyncio.Task[None]] = {}
        self._looked = self._renewed = float("-inf")

    def restore(self) -> None:
        """Take up what an earlier agent has left."""
        self._workshop.restore()

    @property
    def holdings(self) -> Holdings:
        """Return who holds which tunnel, and which wait for a holder."""
        holders = sorted({one.holder for one in self._current() if one.holder is not None})
        held = [(holder, self._of(holder)) for holder in holders]
        leases = tuple(Lease(one.name, holder.profile, holder.key) for holder, one in held if one is not None)
        spares = tuple(sorted(one.name for one in self._current() if one.holder is None))
        return Holdings(leases, spares, frozenset(self._workshop.made))

    async def answer(self, ask: Ask) -> Answer:
        """Return where a request goes that is held."""
        policy, profile = self._policy(), self._profile(ask.profile)
        if profile is None or profile.holding is None:
            return Refused("the policy has changed; try again")
        attribute = holder_attribute(profile.holding, policy.attributes)
        key = await asyncio.to_thread(holder_named, ask, attribute, connections.owner)
        if key is None:
            return Refused(f"profile `{profile.name}`: nobody is known whose tunnel it could be")
        return await self.hold(profile, profile.holding, key)

    async def hold(self, profile: Profile, holding: Holding, key: str) -> Answer:
        """Return the cluster of a holder, having made its tunnel where it has none; or why there is none in time."""
        holder = Holder(profile.name, key)
        one = self._of(holder)
        if one is not None and not self._workshop.carries(one.name) and profile.on_failure is OnFailure.NEXT:
            self._begin(one.name, self._replace(one, demand.DOWN))
            await asyncio.wait([self._working[one.name]], timeout=holding.wait)
            one = self._of(holder)
        if one is None:
            task = self._pending.get(holder)
            if task is None:
                if why := self._objection(holder):
                    return Refused(f"profile `{profile.name}`: {why}")
                task = self._pending[holder] = asyncio.create_task(self._acquire(profile, holder))
                task.add_done_callback(lambda _: self._pending.pop(holder, None))
            await asyncio.wait([task], timeout=holding.wait)
            if not task.done():
                return Refused(f"profile `{profile.name}`: its tunnel was not made within {holding.wait:g} s")
            if why := task.result():
                return Refused(f"profile `{profile.name}`: {why}")
            one = self._of(holder)
        if one is None or not self._workshop.carries(one.name):
            return Refused(f"profile `{profile.name}`: its tunnel is not up")
        return Granted(f"{profile.name}@{one.name}")

    def used(self, tunnels: frozenset[str]) -> None:
        """Note that these carried something just now."""
        now, made = boot_time(), self._workshop.made
        for name in tunnels & made.keys():
            made[name] = replace(made[name], used=now)

    def turn(self) -> None:
        """Begin what is due."""
        now, profiles, made = boot_time(), self._policy().profiles, self._workshop.made
        gateways = self._workshop.gateways
        self._forget(now)
        self._reap()
        done = self._workshop.done()
        states = {one.name: self._state(one.name) for one in done}
        for order in demand.due(done, states, profiles, gateways.values(), self._taken, self._failed, now):
            match order:
                case demand.Replace(tunnel, why):
                    self._begin(tunnel, self._replace(made[tunnel], why))
                case demand.Retire(tunnel, why, drain):
                    self._retire(tunnel, why, drain)
                case demand.Remove(tunnel):
                    self._begin(tunnel, self._workshop.remove(tunnel))
                case demand.Spare(name):
                    self._begin(name, self._spare(gateways[name]))
        if now - self._looked >= LOOK:
            renew = now - self._renewed >= RENEW
            for gateway in gateways.values():
                self._begin(f"look {gateway.name}", self._workshop.look(gateway, renew))
            self._looked, self._renewed = now, now if renew else self._renewed

    async def revoke(self, profile: str, key: str, ban: float) -> bool:
        """End a lease now; for `ban` seconds the holder gets no other. Return whether there was one."""
        holder = Holder(profile, key)
        if ban:
            self._banned[holder] = boot_time() + ban
        one = self._of(holder)
        if one is None:
            return False
        self._retire(one.name, "it was revoked", 0.0)
        await self._settle()
        await self._workshop.remove(one.name)
        return True

    async def rotate(self, tunnel: str) -> str:
        """Have a tunnel with new keys take this one's place; return its name."""
        one = self._workshop.made.get(tunnel)
        if one is None or one.holder is None or one.leaving is not None:
            raise ValueError(f"`{tunnel}` is no tunnel that somebody holds; see `pointsman leases list`")
        await self._replace(one, "somebody asked for new keys")
        after = self._of(one.holder)
        if after is None or after.name == tunnel:
            raise Fault("rotation-failed", f"replace tunnel `{tunnel}`", "no gateway gives another one now")
        return after.name

    async def stop(self) -> tuple[Fault, ...]:
        """End what is under way, and take all tunnels away at their gateways."""
        for task in (*self._pending.values(), *self._working.values()):
            task.cancel()
        return await self._workshop.close()

    def key_ages(self) -> dict[str, float]:
        """Return how long the keys of each tunnel have been used, in seconds: they are as old as the tunnel."""
        now = boot_time()
        return {name: now - one.since for name, one in self._workshop.made.items()}

    def told(self) -> dict[str, Any]:
        """Return leases and spares for people and programs. Times are in seconds."""
        now, made = boot_time(), self._workshop.made
        leases = [(lease, made[lease.tunnel]) for lease in self.holdings.leases]
        return {
            "leases": [
                {
                    "profile": lease.holder,
                    "holder": lease.key,
                    "tunnel": lease.tunnel,
                    "gateway": one.gateway,
                    "state": self._state(lease.tunnel),
                    "key_age": round(now - one.since, 1),
                    "idle": round(now - one.used, 1),
                }
                for lease, one in leases
            ],
            "spares": [{"tunnel": name, "gateway": made[name].gateway} for name in self.holdings.spares],
            "leaving": sorted(one.name for one in made.values() if one.leaving is not None),
            "silent": dict(sorted(self._workshop.silent.items())),
        }

    def _forget(self, now: float) -> None:
        """Drop what no longer counts, so that nothing grows with the number of requests."""
        self._taken = {name: [at for at in when if now - at <= demand.RECENT] for name, when in self._taken.items()}
        self._failed = {name: at for name, at in self._failed.items() if now - at <= demand.RECENT}
        self._banned = {holder: until for holder, until in self._banned.items() if until > now}

    def _profile(self, name: str) -> Profile | None:
        return next((profile for profile in self._policy().profiles if profile.name == name), None)

    def _current(self) -> list[Made]:
        return [one for one in self._workshop.made.values() if one.leaving is None]

    def _of(self, holder: Holder) -> Made | None:
        return demand.current(self._current(), holder, self._workshop.carries)

    def _begin(self, what: str, work: Coroutine[object, object, None]) -> None:
        """Start something in the background, unless the same is under way."""
        if what in self._working:
            work.close()
            return
        self._working[what] = asyncio.create_task(work)

    def _reap(self) -> None:
        """Raise what went wrong in the background: a bug there is one everywhere, and ends the agent."""
        for what in [what for what, task in self._working.items() if task.done()]:
            task = self._working.pop(what)
            if not task.cancelled():
                task.result()

    def _objection(self, holder: Holder) -> str:
        if self._is_banned(holder):
            return _REVOKED
        held = [*(one.holder for one in self._current() if one.holder is not None), *self._pending]
        if len(held) >= self._bounds.node:
            return f"this node holds {self._bounds.node} tunnels already"
        if sum(one.key == holder.key for one in held) >= self._bounds.holder:
            return f"its holder has {self._bounds.holder} tunnels already"
        return ""

    def _is_banned(self, holder: Holder) -> bool:
        return self._banned.get(holder, 0.0) > boot_time()

    async def _acquire(self, profile: Profile, holder: Holder, avoid: str = "") -> str:
        """Give a holder a tunnel, a spare one or a new one; return why that did not work, nothing where it did.

        Gateway `avoid` is asked only where there is no other.
        """
        left = dict(self._workshop.gateways)
        refused: list[str] = []
        while left:
            first = [name for name in left if name != avoid or len(left) == 1]
            ready = [name for name in first if self._spare_of(name) is not None]
            silent = {} if ready else self._workshop.silent
            offers = [_offer(left[name], silent.get(name, "")) for name in ready or first]
            choice = select(replace(profile, on_failure=OnFailure.NEXT), offers, (), holder.key)
            if not isinstance(choice, Chosen) and ready and len(ready) < len(first):
                left = {name: gateway for name, gateway in left.items() if name not in ready}
                continue
            if not isinstance(choice, Chosen):
                refused += [f"{one.tunnel} {', '.join(map(str, one.objections))}" for one in choice.rejected]
                break
            gateway = left.pop(choice.tunnel)
            self._taken.setdefault(gateway.name, []).append(boot_time())
            try:
                tunnel = await self._from(gateway, profile, holder)
            except Fault as fault:
                self._log.fault(fault)
                refused.append(f"{gateway.name} {fault.why}")
                continue
            if self._is_banned(holder):
                self._retire(tunnel, "it was revoked", 0.0)
                return _REVOKED
            self._log.event("a holder has a tunnel", profile=holder.profile, holder=holder.key, tunnel=tunnel)
            return ""
        why = "; ".join(refused)
        self._log.event("no tunnel for a holder", profile=holder.profile, holder=holder.key, why=why)
        return "no gateway gives it a tunnel now"

    async def _from(self, gateway: Gateway, profile: Profile, holder: Holder) -> str:
        spare = self._spare_of(gateway.name)
        if spare is None:
            return (await self._workshop.make(gateway, holder, profile)).name
        self._workshop.change(replace(spare, holder=holder, used=boot_time()))
        return spare.name

    def _spare_of(self, gateway: str) -> Made | None:
        spares = (one for one in self._current() if one.holder is None and one.gateway == gateway)
        return next((one for one in spares if self._workshop.carries(one.name)), None)

    async def _replace(self, one: Made, why: str) -> None:
        """Have another tunnel take this one's place; until that one is up, this one goes on."""
        holder = one.holder
        profile = None if holder is None else self._profile(holder.profile)
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
        self._workshop.change(replace(one, leaving=boot_time() + drain))


def _offer(gateway: Gateway, silent: str) -> Tunnel:
    """Return what a gateway offers, in the form in which tunnels are selected."""
    state = State.FAILED if silent else State.UP
    return Tunnel(gateway.name, gateway.kind, gateway.level, gateway.labels, state, "", (), (), 0, 0, silent)
