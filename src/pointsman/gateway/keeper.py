"""Keeps the tunnels: one change at a time, each written down before it is made, so that a crash loses none half-way."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

from pointsman.gateway import store
from pointsman.gateway.admission import Admitted, Refused, admit, unfit
from pointsman.gateway.grant import Grant, Key, Request, State
from pointsman.gateway.house import House
from pointsman.gateway.keys import Secrets
from pointsman.gateway.server import Seen, Traffic
from pointsman.gateway.site import Gateway
from pointsman.model.fault import Fault
from pointsman.model.tunnel import Kind
from pointsman.system.clock import boot_time
from pointsman.system.log import Log

EVERY = 1.0


class Keeper:
    """Everything that one gateway runs. Whoever changes something holds the lock, and stands in its own line for it."""

    def __init__(self, gateway: Gateway, house: House, grants: Path, secrets: Secrets, log: Log) -> None:
        self.gateway = gateway
        self.secrets = secrets
        self.state = store.recall(grants, boot_time())
        self.why = "it is starting"
        self._house = house
        self._kept = grants
        self._log = log
        self._seen: Mapping[Kind, Seen] = {}
        self._fault = ""  # why the last turn failed
        self._lock = asyncio.Lock()
        self._lines: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._ended = asyncio.Event()

    async def start(self) -> None:
        """Bring the host into the state that was kept, or adopt what an earlier gateway left running."""
        async with self._lock:
            spare = unfit(self.state, self.gateway.capacity)
            if spare:
                await self._keep(self.state.without(*spare))
            for key in spare:
                self._log.event("a tunnel does not fit the gateway's file any more", **_named(key))
            await self._turn()

    async def run(self) -> None:
        """Turn until told to end."""
        while not self._ended.is_set():
            try:
                await asyncio.wait_for(self._ended.wait(), EVERY)
            except TimeoutError:
                async with self._lock:
                    if not self._ended.is_set():  # it may have gone down while the lock was awaited
                        await self._turn()

    def stop(self) -> None:
        """End the loop. What runs goes on running."""
        self._ended.set()

    async def grant(self, request: Request) -> Admitted | Refused:
        """Make a tunnel, or say why not. What it cannot make it does not keep, and raises `Fault`."""
        async with self._in_line(request.owner):
            decided = admit(request, self.state, self.gateway.capacity, boot_time())
            if isinstance(decided, Refused):
                self._log.event("a tunnel is refused", **_named(request.key), why=[r.what for r in decided.reasons])
                return decided
            if decided.fresh and request.kind is Kind.OPENVPN:
                signed = await asyncio.to_thread(self.secrets.authority.sign, request.csr, request.identity)
                decided = replace(decided, grant=replace(decided.grant, certificate=signed))
            await (self._put if decided.fresh else self._prolong)(decided.grant)
        if decided.fresh:
            self._log.event("a tunnel is granted", **_named(request.key), addresses=decided.grant.addresses)
        return decided

    async def renew(self, owner: str, names: tuple[str, ...], ttl: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Give a node's tunnels `ttl` seconds from now; return which of these names it has, and which not."""
        async with self._in_line(owner):
            known = {name: None for name in names if (owner, name) in self.state.grants}
            if known:
                await self._keep(self.state.renewed(tuple((owner, name) for name in known), ttl, boot_time()))
        return tuple(known), tuple(name for name in dict.fromkeys(names) if name not in known)

    async def remove(self, key: Key, asker: str) -> bool:
        """End a tunnel because its node or the operator asks for it; return whether there was one."""
        async with self._in_line(asker):
            if key not in self.state.grants:
                return False
            await self._keep(self.state.without(key))
            await self._settle()
        self._log.event("a tunnel is removed", **_named(key))
        return True

    async def go_down(self) -> tuple[Fault, ...]:
        """Take everything down and end. What was granted is kept for the next start."""
        async with self._lock:
            faults = await asyncio.to_thread(self._house.remove)
            self._ended.set()
        self._log.event("down", faults=len(faults))
        return faults

    def traffic(self, grant: Grant) -> Traffic:
        """Return what was last seen of a tunnel."""
        seen = self._seen.get(grant.kind)
        return seen.traffic.get(grant.identity, Traffic(None, 0, 0)) if seen else Traffic(None, 0, 0)

    async def load(self) -> tuple[int, int]:
        """Return the bytes that came out of all tunnels and went into them."""
        return await asyncio.to_thread(self._house.traffic)

    async def dropped(self) -> dict[str, int]:
        """Return how many packets the guard dropped, by why."""
        return await asyncio.to_thread(self._house.counters)

    @asynccontextmanager
    async def _in_line(self, asker: str) -> AsyncIterator[None]:
        """Hold the lock. One change of each asker waits for it at a time, so that no node's many hold up another."""
        async with self._lines[asker], self._lock:
            yield

    async def _prolong(self, grant: Grant) -> None:
        """Write down when a tunnel ends now. Nothing else of it has changed, so the host is not looked at again."""
        seen = self._seen.get(grant.kind)
        why = self._fault or (seen.why if seen else self.why)
        if why:
            raise Fault("gateway-stuck", f"make tunnel `{grant.asked.name}`", why)
        await self._keep(self.state.having(grant))

    async def _put(self, grant: Grant) -> None:
        """Write a grant down, then make it. What cannot be made is taken back, and its addresses rest as others do."""
        await self._keep(self.state.having(grant))
        try:
            await self._settle()
            why = self._seen[grant.kind].why
            if why:
                raise Fault("gateway-stuck", f"make tunnel `{grant.asked.name}`", why)
        except Fault:
            await self._keep(self.state.without(grant.key))
            with suppress(Fault):  # the next turn takes the steps that this one cannot
                await self._settle()
            raise

    async def _keep(self, state: State) -> None:
        await asyncio.to_thread(store.keep, self._kept, state)
        self.state = state

    async def _settle(self) -> None:
        self._seen = await asyncio.to_thread(self._house.settle, self.state)

    async def _turn(self) -> None:
        """Look, compare, mend. What fails is logged once and tried again in the next turn."""
        try:
            over = self.state.expired(boot_time())
            if over:
                await self._keep(self.state.without(*over))
            for key in over:
                self._log.event("a tunnel has expired", **_named(key))
            self._seen = await asyncio.to_thread(self._house.tend, self.state)
            self.why = "; ".join(f"{kind}: {seen.why}" for kind, seen in self._seen.items() if seen.why)
            if self.why:
                self._log.fault(Fault("gateway-stuck", "serve", self.why))
            self._fault = ""
        except Fault as fault:
            self._log.fault(fault)
            self.why = self._fault = str(fault)


def _named(key: Key) -> dict[str, str]:
    owner, name = key
    return {"node": owner, "tunnel": name}
