"""How a holder comes to a tunnel: a spare one that waits, or a new one, at the gateway that comes first."""

from collections.abc import Callable
from dataclasses import dataclass

from pointsman.model.fault import Fault
from pointsman.model.gateway import Gateway, Holder, Made
from pointsman.model.profile import Profile
from pointsman.node.workshop import Workshop
from pointsman.system.clock import boot_time
from pointsman.system.log import Log
from pointsman.tunnels import demand
from pointsman.tunnels.offer import choose, made_as
from pointsman.tunnels.select import Chosen, misfit


@dataclass(frozen=True, slots=True)
class Gave:
    """The holder has this tunnel now."""

    tunnel: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is none for it now; why is fit to be told to an application."""

    why: str


class Giving:
    """Remembers which gateways were asked lately, and what they refused. `taken` says when, by gateway.

    `in_force` tells whether there is a lane of this name; of spare tunnels, one that has it comes first.
    """

    def __init__(self, workshop: Workshop, log: Log, in_force: Callable[[str], bool]) -> None:
        self._workshop = workshop
        self._log = log
        self._in_force = in_force
        self.taken: dict[str, list[float]] = {}
        self._refused: dict[tuple[str, str], tuple[float, str]] = {}  # by profile and gateway

    async def give(self, profile: Profile, holder: Holder, avoid: str = "") -> Gave | Nothing:
        """Give a holder a tunnel. Gateway `avoid` is asked only where there is no other."""
        left = dict(self._workshop.gateways)
        refused: list[str] = []
        while left:
            ready = {name for name in left if self._spare_of(name, profile) is not None}
            choice = choose(profile, holder.key, left.values(), ready, self._shut(profile.name), avoid)
            if not isinstance(choice, Chosen):
                refused += [f"{one.tunnel} {', '.join(map(str, one.objections))}" for one in choice.rejected]
                break
            gateway = left.pop(choice.tunnel)
            self.taken.setdefault(gateway.name, []).append(boot_time())
            try:
                return Gave(await self._from(gateway, profile, holder))
            except Fault as fault:
                self._log.fault(fault)
                self._refused[profile.name, gateway.name] = boot_time(), fault.why
                refused.append(f"{gateway.name} {fault.why}")
        why = "; ".join(refused)
        self._log.event("no tunnel for a holder", profile=holder.profile, holder=holder.key, why=why)
        return Nothing("no gateway gives it a tunnel now")

    def forget(self, now: float) -> None:
        """Drop what no longer counts."""
        self.taken = {name: [at for at in when if now - at <= demand.RECENT] for name, when in self.taken.items()}
        self._refused = {what: said for what, said in self._refused.items() if now - said[0] < demand.PAUSE}

    async def _from(self, gateway: Gateway, profile: Profile, holder: Holder) -> str:
        spare = self._spare_of(gateway.name, profile)
        if spare is None:
            return (await self._workshop.make(gateway, holder, profile)).name
        self._workshop.give(spare.name, holder)
        return spare.name

    def _spare_of(self, gateway: str, profile: Profile) -> Made | None:
        made = self._workshop.made.values()
        spares = (one for one in made if one.holder is None and one.leaving is None and one.gateway == gateway)
        fit = [one for one in spares if not misfit(made_as(one), profile) and self._workshop.carries(one.name)]
        ready = (one for one in fit if self._in_force(f"{profile.name}@{one.name}"))
        return next(ready, fit[0] if fit else None)

    def _shut(self, profile: str) -> dict[str, str]:
        """Return which gateways are not asked for this profile now, and why: the answer would be the same again."""
        now = boot_time()
        refused = {
            gateway: why
            for (name, gateway), (at, why) in self._refused.items()
            if name == profile and now - at < demand.PAUSE
        }
        return refused | self._workshop.far_ends.silent
