"""Which lanes there are, and their numbers: for profiles and holders, for those that take over, and old ones. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pointsman.dataplane.sharing import Shares
from pointsman.model.routing import MASK
from pointsman.model.tunnel import Lane, Tunnel
from pointsman.node.memory import LANES, numbered
from pointsman.tunnels.select import AHEAD, Chosen, Selection

Pair = tuple[str, str]  # profile and tunnel

SHIFT = (MASK & -MASK).bit_length() - 1


@dataclass(frozen=True, slots=True)
class Lanes:
    """All lanes of a plan, in order of their marks in `every`.

    `ways` holds each profile's lane, or why it has none; `shares`, by profile, those that share its connections, with
    weights; `nexts`, by its cluster, those that take over from a lane; `held`, by profile and tunnel, those of holders.
    `first` are the lanes that requests are sent to first; `wanted` are these and those that stand by for them.
    """

    numbers: Mapping[str, int]
    ways: Mapping[str, Lane | str]
    shares: Shares
    nexts: Mapping[str, tuple[Lane, ...]]
    held: Mapping[Pair, Lane]
    first: frozenset[Lane]
    wanted: frozenset[Lane]
    every: tuple[Lane, ...]


def lay_lanes(
    selections: Mapping[str, Selection],
    held: Iterable[Pair],
    tunnels: Mapping[str, Tunnel],
    known: Mapping[str, int],
    draining: Iterable[Lane],
    spares: Iterable[str] = (),
) -> Lanes:
    """Return the lanes for what profiles chose and for `held`, profile and tunnel of holders.

    `known` are numbers given out before; `draining` are lanes that requests may still be on. Where lanes outgrow their
    numbers, those of `spares`, tunnels that nobody holds yet, are the first to go: who is given one waits for its lane.
    """
    chosen = {name: found for name, found in selections.items() if isinstance(found, Chosen)}
    backed = [(name, one) for name, found in chosen.items() for one in (*found.then, *dict(found.shares))]
    taken = [*backed, *((name, found.tunnel) for name, found in chosen.items())]
    pairs, before = _within_numbers(taken, tuple(held), tuple(draining), frozenset(spares))
    wanted = [*taken, *pairs]
    numbers = numbered(known, [*(f"{p}@{t}" for p, t in wanted), *(lane.cluster for lane in before)], LANES)
    laid = {(p, t): _lane(p, tunnels[t], numbers) for p, t in wanted}
    fresh = {name: laid[name, found.tunnel] for name, found in chosen.items()}
    shares = {
        name: tuple((laid[name, one], weight) for one, weight in found.shares)
        for name, found in chosen.items()
        if found.shares
    }
    sharing = [lane for among in shares.values() for lane, _ in among]
    own = {pair: laid[pair] for pair in pairs}
    now = frozenset(laid.values())
    old = (lane for lane in before if lane not in now and _stands(lane, tunnels))
    return Lanes(
        numbers=numbers,
        ways={name: fresh.get(name) or why_none(found) for name, found in selections.items()},
        shares=shares,
        nexts={
            lane.cluster: tuple(laid[lane.profile, one] for one in _behind(lane.tunnel, chosen[lane.profile]))
            for lane in (*fresh.values(), *sharing)
        },
        held=own,
        first=frozenset({*fresh.values(), *sharing, *own.values()}),
        wanted=now,
        every=tuple(sorted((*now, *old), key=lambda lane: lane.mark)),
    )


def _behind(tunnel: str, chosen: Chosen) -> tuple[str, ...]:
    """Return the tunnels that take over from this one, which a profile chose."""
    others = dict.fromkeys((chosen.tunnel, *chosen.then, *dict(chosen.shares)))
    return tuple(one for one in others if one != tunnel)[:AHEAD]


def why_none(selection: Selection) -> str:
    """Return why a profile has no tunnel, without names that an application has no business to know."""
    if isinstance(selection, Chosen):
        return ""
    fitting = any(
        {found.label for found in rejected.objections} <= {"state", "pinned"} for rejected in selection.rejected
    )
    return "its tunnel is not up" if fitting else "no tunnel fits it"


def _within_numbers(
    taken: Iterable[Pair], held: tuple[Pair, ...], draining: tuple[Lane, ...], spares: frozenset[str]
) -> tuple[tuple[Pair, ...], tuple[Lane, ...]]:
    """Return what is held and what drains, without lanes of spare tunnels beyond the room for them."""
    in_use = {pair for pair in held if pair[1] not in spares}
    others = {(lane.profile, lane.tunnel) for lane in draining if lane.tunnel not in spares}
    room = LANES[1] - LANES[0] + 1 - len({*taken, *in_use, *others})
    kept = {*in_use, *[pair for pair in held if pair[1] in spares][: max(0, room)]}
    return (
        tuple(pair for pair in held if pair in kept),
        tuple(lane for lane in draining if lane.tunnel not in spares or (lane.profile, lane.tunnel) in kept),
    )


def _lane(profile: str, tunnel: Tunnel, numbers: Mapping[str, int]) -> Lane:
    return Lane(profile, tunnel.name, numbers[f"{profile}@{tunnel.name}"] << SHIFT, tunnel.device, tunnel.sources)


def _stands(lane: Lane, tunnels: Mapping[str, Tunnel]) -> bool:
    tunnel = tunnels.get(lane.tunnel)
    return tunnel is not None and (tunnel.device, tunnel.sources) == (lane.device, lane.sources)
