"""Where tunnels of gateways are made and taken away: gateway, file, link and guard, in an order that leaves no orphan.

What a gateway was asked for is in a file before it is asked, and stays there until it is gone on both sides, so
whoever starts after a crash knows of everything that may be left.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from pointsman.model.fault import Fault
from pointsman.model.gateway import Gateway, Given, Holder, Made
from pointsman.model.profile import Profile
from pointsman.model.tunnel import Entry
from pointsman.node import made as files
from pointsman.node.fleet import Fleet
from pointsman.system.clock import boot_time
from pointsman.system.gateways import Asked
from pointsman.system.log import Log
from pointsman.system.secrets import read_secret
from pointsman.tunnels import making
from pointsman.tunnels.pool import Supply
from pointsman.tunnels.preshared import preshared_key

# In seconds. A gateway takes away what was not renewed for so long: a node that vanished leaves nothing behind
TTL = 120.0
UP_WITHIN = 15.0
STEP = 0.01


class Workshop:
    """All tunnels that were asked for. `settle` puts in force what there is; it is awaited before a tunnel is used."""

    def __init__(
        self, gateways: Iterable[Gateway], folder: Path, fleet: Fleet, settle: Callable[[], Awaitable[None]], log: Log
    ) -> None:
        self.gateways = {gateway.name: gateway for gateway in gateways}
        self.made: dict[str, Made] = {}
        self._log = log
        self.silent: dict[str, str] = {}
        self._asked = {gateway.name: Asked(gateway) for gateway in self.gateways.values()}
        self._folder = folder
        self._fleet = fleet
        self._settle = settle
        self._kept: dict[str, files.Kept] = {}
        self._making: set[str] = set()
        self._left: dict[str, str] = {}
        self._going: set[str] = set()

    def restore(self) -> None:
        """Take up what an earlier agent has left: what stands goes on, what was half made is taken away by `look`."""
        for kept in files.recall(self._folder):
            gateway = self.gateways.get(kept.made.gateway)
            if kept.given is None or gateway is None:
                self._left[kept.made.name] = kept.made.gateway
            else:
                now = boot_time()
                self._take_up(gateway, replace(kept, made=replace(kept.made, used=now)), kept.given)

    def carries(self, name: str) -> bool:
        """Return whether requests can go through a tunnel now: it is up, and its lanes are in force."""
        return name not in self._making and self._fleet.state(name).carries

    def change(self, made: Made) -> None:
        """Note whose a tunnel is, or that it leaves."""
        self._kept[made.name] = replace(self._kept[made.name], made=made)
        files.keep(self._folder, self._kept[made.name])
        self.made[made.name] = made
        if made.leaving is not None:
            self._fleet.retire(made.name)

    async def make(self, gateway: Gateway, holder: Holder | None, profile: Profile | None) -> Made:
        """Return a new tunnel that is up and in force. Raises `Fault` where it cannot be made, and takes it away."""
        now = boot_time()
        made = Made(f"{gateway.name}-{secrets.token_hex(4)}", gateway.name, holder, now, now)
        self._making.add(made.name)
        try:
            await self._make(gateway, files.Kept(made, making.private_key(gateway.kind), None), profile)
        except BaseException:
            self._left[made.name] = gateway.name
            raise
        finally:
            self._making.discard(made.name)
        return made

    async def remove(self, name: str) -> None:
        """Take a tunnel away on both sides. What its gateway does not answer to is tried again by `look`."""
        if name in self.made:
            self._left[name] = self.made[name].gateway
            await self._forget(name)

    async def look(self, gateway: Gateway, renew: bool) -> None:
        """Compare a gateway's tunnels of this node with ours: what is only there goes, what is only here is renewed."""
        asked = self._asked[gateway.name]
        try:
            there = await asked.tunnels()
            for name in there - self.made.keys() - self._making - self._left.keys():
                await asked.remove(name)
            for name in [name for name, where in self._left.items() if where == gateway.name]:
                await self._forget(name)
            own = [one.name for one in self.made.values() if one.gateway == gateway.name]
            unknown = await asked.renew(own, TTL) if renew and own else frozenset()
            for name in unknown & self.made.keys():
                self._fleet.lose(name, "its gateway does not know it any more")
        except Fault as fault:
            self.silent[gateway.name] = fault.why
        else:
            self.silent.pop(gateway.name, None)

    def done(self) -> tuple[Made, ...]:
        """Return the tunnels that are not in the making any more."""
        return tuple(one for one in self.made.values() if one.name not in self._making)

    async def close(self) -> tuple[Fault, ...]:
        """Take all tunnels away at their gateways. One that does not answer does so itself when their time is over."""
        found = []
        for name, gateway in [*self._left.items(), *((one.name, one.gateway) for one in self.made.values())]:
            try:
                if gateway in self._asked and gateway not in self.silent:
                    await self._asked[gateway].remove(name)
            except Fault as fault:
                self.silent[gateway] = fault.why
                found.append(fault)
            files.forget(self._folder, name)
        await asyncio.gather(*(asked.close() for asked in self._asked.values()))
        return tuple(found)

    async def _make(self, gateway: Gateway, kept: files.Kept, profile: Profile | None) -> None:
        files.keep(self._folder, kept)
        secret = read_secret(Path(gateway.secret)) if gateway.secret else b""
        body = making.request(gateway.kind, kept.key, kept.made.name)
        given = await self._ask(gateway, kept, body, profile)
        preshared = preshared_key(secret, kept.made.name, body["public_key"], given.public_key) if secret else ""
        kept = replace(kept, given=given, preshared=preshared)
        files.keep(self._folder, kept)
        self._take_up(gateway, kept, given)
        # shut around the new link, and open for its outer packets, before there is either
        await self._settle()
        await self._up(kept.made.name)
        await self._settle()

    async def _ask(
        self, gateway: Gateway, kept: files.Kept, asked: Mapping[str, str], profile: Profile | None
    ) -> Given:
        limits = {} if profile is None else {"bandwidth": profile.limits.bandwidth, "qos": profile.qos.value}
        mixed = {"preshared": True} if gateway.secret else {}
        body = {**asked, **mixed, **limits, "ttl": int(TTL)}
        try:
            given = await self._asked[gateway.name].make(kept.made.name, body)
            making.spec(gateway.kind, kept.key, given)
        except ValueError as error:
            raise Fault("gateway-answer", f"understand what gateway `{gateway.name}` gave", str(error)) from error
        except Fault as fault:
            if fault.label == "gateway-silent":
                self.silent[gateway.name] = fault.why
            raise
        return given

    def _take_up(self, gateway: Gateway, kept: files.Kept, given: Given) -> None:
        self._kept[kept.made.name] = kept
        self.made[kept.made.name] = kept.made
        entry = Entry(
            kept.made.name, gateway.kind, gateway.level, gateway.labels, probe=given.probe[0], rate=gateway.rate
        )
        self._fleet.add(Supply(entry, making.spec(gateway.kind, kept.key, given, kept.preshared)))

    async def _up(self, name: str) -> None:
        until = boot_time() + UP_WITHIN
        while boot_time() < until:
            await self._fleet.tend(name)
            if self._fleet.state(name).carries:
                return
            await asyncio.sleep(STEP)
        raise Fault("tunnel-slow", f"bring tunnel `{name}` up", f"no answer from its gateway within {UP_WITHIN:.0f} s")

    async def _forget(self, name: str) -> None:
        """Take what is left of a tunnel away, here first; the file goes when its gateway has it no more.

        Orders, `look` and whoever revokes may come to it at once: only the first does it.
        """
        if name in self._going or name not in self._left:
            return
        self._going.add(name)
        try:
            if (fault := await self._fleet.remove(name)) is not None:
                self._log.fault(fault)  # its name is not given out again, and what is left goes with `down`
            self.made.pop(name, None)
            self._kept.pop(name, None)
            if (asked := self._asked.get(self._left[name])) is not None:
                await asked.remove(name)
            files.forget(self._folder, name)
            del self._left[name]
        except Fault as fault:
            self.silent[self._left[name]] = fault.why
        finally:
            self._going.discard(name)
