"""Which gateway is asked for a holder's tunnel? What gateways offer is weighed as tunnels are."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from pointsman.model.gateway import Gateway, Made
from pointsman.model.profile import OnFailure, Profile
from pointsman.model.tunnel import State, Tunnel
from pointsman.tunnels.select import Chosen, Selection, select


def choose(
    profile: Profile,
    key: str,
    gateways: Iterable[Gateway],
    ready: Collection[str],
    shut: Mapping[str, str],
    avoid: str = "",
) -> Selection:
    """Return the gateway for a holder with this key: first among those that have a tunnel `ready` for it.

    `shut` says why some are not asked now. Gateway `avoid` comes where no other will do.
    """
    taking, every = replace(profile, on_failure=OnFailure.NEXT), tuple(gateways)
    others = tuple(gateway for gateway in every if gateway.name != avoid)
    at_once = tuple(gateway for gateway in others if gateway.name in ready)
    for offers in ([_offer(one, "") for one in at_once], [_offer(one, shut.get(one.name, "")) for one in others]):
        choice = select(taking, offers, (), key)
        if isinstance(choice, Chosen):
            return choice
    return select(taking, [_offer(one, shut.get(one.name, "")) for one in every], (), key)


def made_as(made: Made) -> Tunnel:
    """Return what a tunnel was made as, in the form in which tunnels are selected."""
    return Tunnel(made.gateway, made.kind, made.level, made.labels, State.UP, "", (), (), 0, 0)


def _offer(gateway: Gateway, shut: str) -> Tunnel:
    state = State.FAILED if shut else State.UP
    return Tunnel(gateway.name, gateway.kind, gateway.level, gateway.labels, state, "", (), (), 0, 0, shut)
