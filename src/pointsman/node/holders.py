"""Who holds which tunnel of a gateway, as the policy in force sees it, and who may not have one."""

from collections.abc import Callable, Iterable

from pointsman.model.gateway import Bounds, Holder, Made
from pointsman.model.policy import Policy
from pointsman.model.profile import Profile
from pointsman.model.tunnel import Lease
from pointsman.node.holdings import Holdings, unfit
from pointsman.node.workshop import Workshop
from pointsman.system.clock import boot_time
from pointsman.tunnels import demand

REVOKED = "its lease was revoked"


class Holders:
    """The holders of what a workshop has made. Remembers whose lease was revoked, and until when."""

    def __init__(self, workshop: Workshop, bounds: Bounds, policy: Callable[[], Policy]) -> None:
        self._workshop = workshop
        self._bounds = bounds
        self._policy = policy
        self._banned: dict[tuple[str, str], float] = {}

    @property
    def holdings(self) -> Holdings:
        """Return who holds which tunnel, and which wait for a holder."""
        held = [(holder, self.of(holder)) for holder in sorted({holder for _, holder in self._held()})]
        leases = tuple(Lease(one.name, holder.profile, holder.key) for holder, one in held if one is not None)
        spares = tuple(sorted(one.name for one in self._current() if one.holder is None))
        return Holdings(leases, spares, {name: one.gateway for name, one in self._workshop.made.items()})

    def of(self, holder: Holder) -> Made | None:
        """Return the tunnel that takes a holder's requests, if it is what the policy asks for now."""
        policy = self._policy()
        own = [one for one in self._current() if one.holder == holder and not unfit(one, policy)]
        return demand.current(own, holder, self._workshop.carries)

    def tunnels(self, profile: str, key: str) -> list[str]:
        """Return all tunnels of a holder that do not leave yet, whatever its key was read from."""
        return [name for name, holder in self._held() if (holder.profile, holder.key) == (profile, key)]

    def profile(self, name: str) -> Profile | None:
        """Return a profile of the policy in force; None where it has none of this name any more."""
        return next((profile for profile in self._policy().profiles if profile.name == name), None)

    def objection(self, holder: Holder, waiting: Iterable[Holder]) -> str:
        """Return why a holder may have no tunnel beside those that are held or waited for; nothing where it may."""
        if self.is_banned(holder):
            return REVOKED
        held = [*(holder for _, holder in self._held()), *waiting]
        if len(held) >= self._bounds.node:
            return f"this node holds {self._bounds.node} tunnels already"
        if sum(one.key == holder.key for one in held) >= self._bounds.holder:
            return f"its holder has {self._bounds.holder} tunnels already"
        return ""

    def ban(self, profile: str, key: str, until: float) -> None:
        """Let a holder have no other tunnel before this time."""
        self._banned[profile, key] = until

    def is_banned(self, holder: Holder) -> bool:
        """Return whether its lease was revoked, for a time that is not over."""
        return self._banned.get((holder.profile, holder.key), 0.0) > boot_time()

    def forget(self, now: float) -> None:
        """Drop bans that are over."""
        self._banned = {holder: until for holder, until in self._banned.items() if until > now}

    def _current(self) -> list[Made]:
        return [one for one in self._workshop.made.values() if one.leaving is None]

    def _held(self) -> list[tuple[str, Holder]]:
        return [(one.name, one.holder) for one in self._current() if one.holder is not None]
