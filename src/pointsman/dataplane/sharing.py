"""Lanes that share the connections of one profile, each its part by weight.

A hash decides, in the proxy of the client's address and port, in the kernel, for plain TCP flows, of its port: so all
requests of one connection leave by one lane.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate

from pointsman.dataplane.envoy import Json, Object, extension, typed
from pointsman.dataplane.headers import CONNECTION
from pointsman.dataplane.inputs import header_input
from pointsman.dataplane.nftables import braced
from pointsman.model.tunnel import Lane

Shares = Mapping[str, Sequence[tuple[Lane, int]]]

_SEED = 0x706D
_HASH = "envoy.extensions.matching.input_matchers.consistent_hashing.v3.ConsistentHashing"


def by_connection(parts: Iterable[tuple[Object, int]]) -> Object:
    """Return what gives each connection one of these outcomes, each in proportion to its weight."""
    (first, _), *others = shares = tuple(parts)
    weights = list(accumulate(weight for _, weight in shares))
    # true from a threshold on: the last one is asked first
    entries: list[Json] = [
        {"predicate": {"single_predicate": _from(below, weights[-1])}, "on_match": outcome}
        for below, (outcome, _) in reversed(list(zip(weights, others, strict=False)))
    ]
    return {"matcher": {"matcher_list": {"matchers": entries}, "on_no_match": first}}


def by_family(parts: Iterable[tuple[Lane, int]], chain: Callable[[Lane], str]) -> tuple[str, ...]:
    """Return the rules that share plain TCP flows, each family among the lanes that have an address of it."""
    shares = tuple(parts)
    families = {
        name: [one for one in shares if any((":" in source) == six for source in one[0].sources)]
        for name, six in (("ipv4", False), ("ipv6", True))
    }
    if all(len(found) == len(shares) for found in families.values()):
        return (by_port((chain(lane), part) for lane, part in shares),)
    return tuple(
        f"meta nfproto {name} {by_port((chain(lane), part) for lane, part in found)}"
        for name, found in families.items()
        if found
    )


def by_port(parts: Iterable[tuple[str, int]]) -> str:
    """Return the rule that sends each connection to one of these chains, each in proportion to its weight."""
    shares = tuple(parts)
    ends = list(accumulate(weight for _, weight in shares))
    ranges = [
        f"{end - weight}-{end - 1} : goto {name}" if weight > 1 else f"{end - 1} : goto {name}"
        for (name, weight), end in zip(shares, ends, strict=True)
    ]
    return f"jhash tcp sport mod {ends[-1]} seed {_SEED:#x} vmap {braced(ranges)}"


def _from(threshold: int, modulo: int) -> Object:
    hashed = typed(_HASH, threshold=threshold, modulo=modulo, seed=_SEED)
    return {
        "input": header_input(CONNECTION),
        "custom_match": extension("envoy.matching.matchers.consistent_hashing", hashed),
    }
