"""The gateways of a node as it speaks to them: what each is asked for and keeps, and which is silent."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from pointsman.model.fault import Fault
from pointsman.model.gateway import Gateway, Given
from pointsman.model.profile import Profile
from pointsman.node.made import Kept
from pointsman.system.clock import boot_time
from pointsman.system.gateways import FarEnd
from pointsman.tunnels import making

# In seconds. A gateway takes away what was not renewed for so long: a node that vanished leaves nothing behind
TTL = 120.0
RENEW = 30.0


class FarEnds:
    """One far end for each gateway, by name. `silent` says why of those that could not be spoken to lately."""

    def __init__(self, gateways: Iterable[Gateway]) -> None:
        self.ends = {gateway.name: FarEnd(gateway) for gateway in gateways}
        self.silent: dict[str, str] = {}
        self._renewed: dict[str, float] = {}

    async def ask(
        self,
        gateway: Gateway,
        kept: Kept,
        asked: Mapping[str, str],
        profile: Profile | None,
        elsewhere: Callable[[], frozenset[str]],
    ) -> Given:
        """Return what a gateway gives a tunnel. Raises `Fault` where that will not do.

        `elsewhere` are addresses that no tunnel may have; they are asked for when the gateway has answered.
        """
        limits = {} if profile is None else {"bandwidth": profile.limits.bandwidth, "qos": profile.qos.value}
        mixed = {"preshared": True} if gateway.secret else {}
        body = {**asked, **mixed, **limits, "ttl": int(TTL)}
        try:
            given = await self.ends[gateway.name].make(kept.made.name, body)
            if spoken_for := elsewhere().intersection(given.addresses):
                raise ValueError(f"no usable address {min(spoken_for)}: this node knows it elsewhere")
            making.spec(gateway.kind, kept.key, given)
        except ValueError as error:
            raise Fault("gateway-answer", f"understand what gateway `{gateway.name}` gave", str(error)) from error
        except Fault as fault:
            if fault.label == "gateway-silent":
                self.silent[gateway.name] = fault.why
            raise
        return given

    async def renew(self, name: str, tunnels: Sequence[str]) -> frozenset[str]:
        """Have a gateway keep these, where that is due; return those that it does not know any more."""
        if not tunnels or boot_time() - self._renewed.get(name, float("-inf")) < RENEW:
            return frozenset()
        unknown = await self.ends[name].renew(tunnels, TTL)
        self._renewed[name] = boot_time()
        return unknown

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(end.close() for end in self.ends.values()))
