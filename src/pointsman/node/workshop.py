"""Where tunnels of gateways are made and taken away: gateway, file, link and guard, in an order that leaves no orphan.

What a gateway was asked for is in a file before it is asked, and stays there until it is gone on both sides, so
whoever starts after a crash knows of everything that may be left.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path

from pointsman.model.fault import Fault
from pointsman.model.gateway import Gateway, Given, Holder, Made
from pointsman.model.profile import Profile
from pointsman.model.tunnel import Entry
from pointsman.node import made as files
from pointsman.node.far_ends import FarEnds
from pointsman.node.fleet import Fleet
from pointsman.system.clock import boot_time
from pointsman.system.log import Log
from pointsman.system.secrets import read_secret
from pointsman.tunnels import making
from pointsman.tunnels.pool import Supply
from pointsman.tunnels.preshared import preshared_key

# So many are taken away in one look: the next renewal must not wait for long
AT_ONCE = 8
# In seconds
UP_WITHIN = 15.0
STEP = 0.01


class Workshop:
    """All tunnels that were asked for. `settle` puts in force what there is; it is awaited before a tunnel is used.

    `spoken_for` are the addresses that no gateway may give a tunnel.
    """

    def __init__(
        self,
        gateways: Iterable[Gateway],
        folder: Path,
        fleet: Fleet,
        settle: Callable[[], Awaitable[None]],
        log: Log,
        spoken_for: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        self.gateways = {gateway.name: gateway for gateway in gateways}
        self.made: dict[str, Made] = {}
        self.far_ends = FarEnds(self.gateways.values())
        self._log = log
        self._folder = folder
        self._fleet = fleet
        self._settle = settle
        self._spoken_for = spoken_for
        self._kept: dict[str, files.Kept] = {}
        self._making: set[str] = set()
        self._left: dict[str, str] = {}
        self._going: set[str] = set()
        self.unwritten = files.Unwritten(folder, log)

    def restore(self) -> None:
        """Take up what an earlier agent has left: what stands goes on, what was half made is taken away by `look`.

        What stands at a gateway that is not in the node file any more leaves; nobody can be asked to let it go there.
        """
        for kept in files.recall(self._folder):
            gateway = self.gateways.get(kept.made.gateway)
            if self._stands(kept, gateway):
                continue
            if gateway is not None:
                self._left[kept.made.name] = gateway.name
            else:
                files.forget(self._folder, kept.made.name)

    def carries(self, name: str) -> bool:
        """Return whether requests can go through a tunnel now: it is up, and its lanes are in force."""
        return name not in self._making and self._fleet.state(name).carries

    def give(self, name: str, holder: Holder) -> None:
        """Give a spare tunnel to a holder, in writing first: after a crash it must not be given to another one."""
        kept = replace(self._kept[name], made=replace(self.made[name], holder=holder, used=boot_time()))
        files.keep(self._folder, kept)
        self._kept[name], self.made[name] = kept, kept.made

    def retire(self, name: str, leaving: float) -> None:
        """Have a tunnel take no more requests, also where that cannot be written down now.

        What is under way on one that leaves now would wait in vain: it ends when that is put in force.
        """
        self.made[name] = replace(self.made[name], leaving=leaving)
        self._kept[name] = replace(self._kept[name], made=self.made[name])
        self._fleet.retire(name, at_once=leaving <= boot_time())
        self.unwritten.add(self._kept[name])

    async def make(self, gateway: Gateway, holder: Holder | None, profile: Profile | None) -> Made:
        """Return a new tunnel that is up and in force. Raises `Fault` where it cannot be made, and takes it away."""
        now, name = boot_time(), f"{gateway.name}-{secrets.token_hex(4)}"
        made = Made(name, gateway.name, gateway.kind, gateway.level, gateway.labels, holder, now, now)
        secret = read_secret(Path(gateway.secret)) if gateway.secret else b""
        kept = files.Kept(made, making.private_key(gateway.kind), None)
        files.keep(self._folder, kept)
        self._making.add(name)
        try:
            await self._make(gateway, kept, secret, profile)
        except BaseException as error:
            if isinstance(error, Fault) and error.label == "gateway-refused":
                files.forget(self._folder, name)  # it is not there
            else:
                self._abandon(made)
            raise
        finally:
            self._making.discard(name)
        return made

    async def remove(self, name: str) -> None:
        """Take a tunnel away on both sides. What its gateway does not answer to is tried again by `look`."""
        if name not in self.made:
            return
        gateway = self._left[name] = self.made[name].gateway
        try:
            await self._forget(name)
        except Fault as fault:
            self.far_ends.silent[gateway] = fault.why

    async def look(self, gateway: Gateway) -> None:
        """Renew a gateway's tunnels where that is due, then take away what it has and nobody wants any more."""
        asked = self.far_ends.ends[gateway.name]
        try:
            await self._renew(gateway)
            there = await asked.tunnels()
            unknown = sorted(there - self.made.keys() - self._making - self._left.keys())
            left = [name for name, where in self._left.items() if where == gateway.name]
            for name in left[:AT_ONCE]:
                if name in self._left:
                    self._left[name] = self._left.pop(name)  # last, so that one that is stuck holds up no other
                    await self._forget(name)
            for name in unknown[:AT_ONCE]:
                await asked.remove(name)
        except Fault as fault:
            self.far_ends.silent[gateway.name] = fault.why
        else:
            self.far_ends.silent.pop(gateway.name, None)

    def done(self) -> tuple[Made, ...]:
        """Return the tunnels that are not in the making any more."""
        return tuple(one for one in self.made.values() if one.name not in self._making)

    async def close(self) -> tuple[Fault, ...]:
        """Take all tunnels away at their gateways. One that does not answer does so itself when their time is over."""
        found = []
        for name, gateway in [*self._left.items(), *((one.name, one.gateway) for one in self.made.values())]:
            try:
                if gateway in self.far_ends.ends and gateway not in self.far_ends.silent:
                    await self.far_ends.ends[gateway].remove(name)
            except Fault as fault:
                self.far_ends.silent[gateway] = fault.why
                found.append(fault)
            files.forget(self._folder, name)
        await self.far_ends.close()
        return tuple(found)

    async def _make(self, gateway: Gateway, kept: files.Kept, secret: bytes, profile: Profile | None) -> None:
        body = making.request(gateway.kind, kept.key, kept.made.name)
        given = await self.far_ends.ask(gateway, kept, body, profile, self._elsewhere)
        preshared = preshared_key(secret, kept.made.name, body["public_key"], given.public_key) if secret else ""
        kept = replace(kept, given=given, preshared=preshared)
        files.keep(self._folder, kept)
        self._take_up(kept, given, gateway.rate)
        # shut around the new link, and open for its outer packets, before there is either
        await self._settle()
        await self._up(kept.made.name)
        await self._settle()

    def _stands(self, kept: files.Kept, gateway: Gateway | None) -> bool:
        if kept.given is None:
            return False
        try:
            rate = gateway.rate if gateway is not None else None
            self._take_up(replace(kept, made=_today(kept.made, gateway)), kept.given, rate)
        except ValueError:  # it will not do; what there is of it here is nobody's, and the fleet ends it
            return False
        return True

    def _take_up(self, kept: files.Kept, given: Given, rate: int | None) -> None:
        made = kept.made
        spec = making.spec(made.kind, kept.key, given, kept.preshared)
        self._kept[made.name] = kept
        self.made[made.name] = made
        entry = Entry(made.name, made.kind, made.level, made.labels, probe=given.probe[0], rate=rate)
        self._fleet.add(Supply(entry, spec), made.leaving is not None)

    def _abandon(self, made: Made) -> None:
        """Have `look` take away what was begun; until then it is nobody's, for whoever starts after a crash, too."""
        self._left[made.name] = made.gateway
        if made.name in self.made:
            self.retire(made.name, boot_time())

    async def _renew(self, gateway: Gateway) -> None:
        own = [one.name for one in self.made.values() if one.gateway == gateway.name]
        unknown = await self.far_ends.renew(gateway.name, own)
        for name in unknown & self.made.keys():
            self._fleet.lose(name, "its gateway does not know it any more")

    def _elsewhere(self) -> frozenset[str]:
        """Return what no tunnel may have as its own, what answers behind other tunnels included."""
        return self._spoken_for().union(*(kept.given.probe for kept in self._kept.values() if kept.given))

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

        Orders, `look` and whoever revokes may come to it at once: only the first does it. Raises `Fault` where the
        gateway does not answer.
        """
        if name in self._going or name not in self._left:
            return
        self._going.add(name)
        try:
            if (fault := await self._fleet.remove(name)) is not None:
                self._log.fault(fault)  # its name is not given out again, and what is left goes with `down`
            self.made.pop(name, None)
            self._kept.pop(name, None)
            self.unwritten.drop(name)
            if (asked := self.far_ends.ends.get(self._left[name])) is not None:
                await asked.remove(name)
            files.forget(self._folder, name)
            del self._left[name]
        finally:
            self._going.discard(name)


def _today(made: Made, gateway: Gateway | None) -> Made:
    """Return a tunnel as it counts now: as no more than it was made as, and no more than its gateway says of itself."""
    now = boot_time()
    if gateway is None:
        return replace(made, used=now, leaving=now)
    labels = tuple(label for label in made.labels if label in gateway.labels)
    return replace(made, used=now, level=min(made.level, gateway.level), labels=labels)
