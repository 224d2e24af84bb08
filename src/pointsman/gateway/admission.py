"""May this tunnel be made? All reasons against it at once, and otherwise what it gets."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from pointsman.gateway.addresses import Pool, free_slot
from pointsman.gateway.grant import OPERATOR, Grant, Key, Request, State
from pointsman.model.tunnel import Kind

# Where the numbers of each kind begin; a slot is added
_NUMBERS = {Kind.WIREGUARD: 1 << 28, Kind.OPENVPN: 2 << 28}


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the gateway can give: tunnels and bits per second each way, in all and to each node; addresses by kind.

    `connections` is how many each tunnel may have open by each of its addresses.
    """

    tunnels: int
    per_node: int
    bandwidth: int | None
    bandwidth_per_node: int | None
    connections: int
    pools: Mapping[Kind, Pool]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why not. `label` is stable and meant for programs."""

    label: str
    what: str


@dataclass(frozen=True, slots=True)
class Admitted:
    """The tunnel is granted; `fresh` says whether it was not there before."""

    grant: Grant
    fresh: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """The tunnel is not granted, for all these reasons."""

    reasons: tuple[Reason, ...]


def admit(request: Request, state: State, capacity: Capacity, now: float) -> Admitted | Refused:
    """Decide about a request; asked for again in the same words, a tunnel stays as it is and its time begins anew.

    `now` is in seconds of the boot-time clock.
    """
    expires = None if request.ttl is None else now + request.ttl
    known = state.grants.get(request.key)
    if known is not None:
        if known.asked.digest == request.digest:
            return Admitted(replace(known, asked=request, expires=expires), fresh=False)
        what = f"tunnel `{request.name}` is there already, and not as asked for; take another name"
        return Refused((Reason("id-taken", what),))
    slot = _slot(request.kind, state, capacity)
    reasons = tuple(_objections(request, state, capacity, slot))
    if reasons or slot is None:
        return Refused(reasons)
    addresses = capacity.pools[request.kind].at(slot)
    return Admitted(Grant(request, slot, _NUMBERS[request.kind] + slot, addresses, expires), fresh=True)


def unfit(state: State, capacity: Capacity) -> tuple[Key, ...]:
    """Return the tunnels that were granted by another gateway file, and cannot go on by this one."""
    return tuple(key for key, grant in state.grants.items() if not _fits(grant, capacity.pools.get(grant.kind)))


def _fits(grant: Grant, pool: Pool | None) -> bool:
    return pool is not None and grant.slot <= pool.last and pool.at(grant.slot) == grant.addresses


def _slot(kind: Kind, state: State, capacity: Capacity) -> int | None:
    pool = capacity.pools.get(kind)
    if pool is None:
        return None
    return free_slot(pool, {grant.slot for grant in state.of(kind)}, state.last.get(kind, 0))


def _objections(request: Request, state: State, capacity: Capacity, slot: int | None) -> Iterator[Reason]:
    if request.kind not in capacity.pools:
        offered = ", ".join(f"`{kind}`" for kind in sorted(capacity.pools))
        yield Reason("kind-not-offered", f"`{request.kind}` is not offered here; offered are {offered}")
    elif slot is None:
        yield Reason("addresses-used-up", f"no address for `{request.kind}` is free")
    if any(grant.identity == request.identity for grant in state.of(request.kind)):
        yield Reason("key-taken", "another tunnel has this key; each needs its own")
    if len(state.grants) >= capacity.tunnels:
        yield Reason("tunnels-used-up", f"all {capacity.tunnels} tunnels are granted")
    if request.owner != OPERATOR and sum(key[0] == request.owner for key in state.grants) >= capacity.per_node:
        yield Reason("node-used-up", f"all {capacity.per_node} tunnels that one node may have are granted")
    if request.bandwidth is not None:
        reserved = {key: grant.asked.bandwidth or 0 for key, grant in state.grants.items()}
        yield from _too_much("bandwidth-used-up", request.bandwidth, capacity.bandwidth, sum(reserved.values()), "")
        if request.owner != OPERATOR:
            own = sum(size for (owner, _), size in reserved.items() if owner == request.owner)
            most = capacity.bandwidth_per_node
            yield from _too_much("node-bandwidth-used-up", request.bandwidth, most, own, " that one node may have")


def _too_much(label: str, asked: int, most: int | None, reserved: int, whose: str) -> Iterator[Reason]:
    if most is not None and asked > most - reserved:
        left = max(0, most - reserved)
        yield Reason(label, f"{asked} bit/s are asked for, {left} of {most}{whose} are left")
