"""Which entry ports exist: one for each way of reading the bytes, class of users and plain TCP outcome.

A port is `base + 100 * class + outcome`, so its first three digits are the class. Class 0 holds the ports of
mode `tcp`; every other class stands for one user, the first of them for all users that no rule names. A port
keeps its meaning for as long as it is wanted. As long as others are free it has no new one in the change in which it
loses its own, and a class has no new user while anybody is in it: what is already there does not change its meaning.
"""

from collections.abc import Collection, Iterable

from pointsman.model.entry import Entry, Mode
from pointsman.model.problem import Invalid, Place, Problem

BASE = 20000
BLOCK = 100
CLASSES = 100
PLAIN = BASE // BLOCK  # the class of mode `tcp`


def plan(
    uids: Iterable[int],
    lanes: Iterable[str],
    modes: Iterable[Mode],
    before: tuple[Entry, ...] = (),
    base: int = BASE,
    occupied: Collection[int] = (),
) -> tuple[Entry, ...]:
    """Return the entries for these users and lanes; those that were there before keep their ports.

    `lanes` are the names of all clusters that a plain TCP flow may be sent to, whether usable now or not: a
    tunnel that comes or goes then changes no listener. Every mode also has an entry for flows that are refused.
    Classes that are `occupied` by connections go to new users last of all.
    """
    wanted = frozenset(modes)
    users: tuple[int | None, ...] = (None, *sorted(frozenset(uids)))
    outcomes = ("", *sorted(frozenset(lanes)))
    blocks = _blocks(users, before, base, occupied)
    found = []
    if Mode.TCP in wanted:
        found += _outcomes(Mode.TCP, None, base, base, outcomes, before)
    for user, block in blocks.items():
        if Mode.HTTP in wanted:
            found.append(Entry(block, Mode.HTTP, user))
        if Mode.AUTO in wanted:
            found += _outcomes(Mode.AUTO, user, block, block + 1, outcomes, before)
    return tuple(sorted(found, key=lambda entry: entry.port))


def both(entries: Iterable[Entry], before: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return these entries, and those of before that they do not have."""
    return tuple({(entry.mode, entry.uid, entry.lane): entry for entry in (*before, *entries)}.values())


def is_entry(port: int) -> bool:
    """Return whether a port can be an entry."""
    return PLAIN <= class_of(port) < PLAIN + CLASSES


def class_of(port: int) -> int:
    """Return the class of an entry port: its first three digits."""
    return port // BLOCK


def user_classes(entries: Iterable[Entry]) -> dict[int, int]:
    """Return what stands for each user that has entries of its own: the class of their ports."""
    return {entry.uid: class_of(entry.port) for entry in entries if entry.uid is not None}


def _blocks(
    users: tuple[int | None, ...], before: tuple[Entry, ...], base: int, occupied: Collection[int]
) -> dict[int | None, int]:
    held = {entry.uid: class_of(entry.port) * BLOCK for entry in before if entry.mode is not Mode.TCP}
    blocks = {None: base + BLOCK} | {user: held[user] for user in users if user in held}
    used = {*held.values(), *(number * BLOCK for number in occupied)}
    every = {base + BLOCK * number for number in range(2, CLASSES)} - {*blocks.values()}
    free = iter(sorted(every, key=lambda block: (block in used, block)))
    for user in users:
        if user not in blocks:
            blocks[user] = _next(free, f"{len(users) - 1} users are named in the rules", CLASSES - 2)
    return blocks


def _outcomes(
    mode: Mode, user: int | None, block: int, first: int, outcomes: tuple[str, ...], before: tuple[Entry, ...]
) -> list[Entry]:
    ports = {entry.lane: entry.port for entry in before if entry.mode is mode and entry.uid == user}
    held = {lane: ports[lane] for lane in outcomes if lane in ports}
    # the proxy takes the new lane into use before the kernel stops sending flows of the old one
    used = {entry.port for entry in before}
    free = iter(sorted({*range(first, block + BLOCK)} - {*held.values()}, key=lambda port: (port in used, port)))
    for lane in outcomes:
        if lane not in held:
            held[lane] = _next(free, f"{len(outcomes) - 1} profiles on tunnels can carry plain TCP", BLOCK - 2)
    return [Entry(port, mode, user, lane) for lane, port in held.items()]


def _next(free: Iterable[int], what: str, most: int) -> int:
    for port in free:
        return port
    raise Invalid([Problem(Place(), "too-many-entries", what, f"at most {most} have entry ports of their own")])
