"""The pool: which tunnels there can be. A pool with one bad entry is refused as a whole, with all problems."""

from collections.abc import Iterable
from dataclasses import dataclass

from pointsman.model.fault import Fault
from pointsman.model.problem import Invalid, Place, Problem
from pointsman.model.tunnel import Entry, Kind
from pointsman.tunnels.levels import level_given
from pointsman.tunnels.ovpn import Read, parse_ovpn
from pointsman.tunnels.port import DirectSpec, Spec
from pointsman.tunnels.wgquick import parse_wgquick


@dataclass(frozen=True, slots=True)
class Supply:
    """One tunnel that can be brought up: as declared, and what its file says.

    `allowed` is where that file says which packets its device takes; no place for those that take all.
    """

    entry: Entry
    spec: Spec
    allowed: Place = Place()


@dataclass(frozen=True, slots=True)
class Pool:
    """All tunnels that can be, and notes on what their files say in vain."""

    supplies: tuple[Supply, ...]
    notes: tuple[Problem, ...] = ()


def load_pool(entries: Iterable[tuple[Entry, Place]], read: Read) -> Pool:
    """Return the pool that these entries make; raise `Invalid` with every problem of every file.

    Each entry comes with the place that declares it, and has the form that a node file demands. `read` returns the text
    of a file, or raises `Fault`.
    """
    problems: list[Problem] = []
    notes: list[Problem] = []
    supplies: list[Supply] = []
    for entry, place in entries:
        try:
            spec, said, allowed = _spec(entry, place, read)
        except Invalid as invalid:
            problems.extend(invalid.problems)
            continue
        given = level_given(spec)
        if entry.level > given.level:
            what = (
                f"tunnel `{entry.name}` is declared `{entry.level.name.lower()}` but gives `{given.level.name.lower()}`"
            )
            problems.append(Problem(place, "pool-level", what, "it lacks " + " and ".join(given.lacks)))
        supplies.append(Supply(entry, spec, allowed))
        notes.extend(said)
    if problems:
        raise Invalid(problems)
    return Pool(tuple(supplies), tuple(notes))


def _spec(entry: Entry, place: Place, read: Read) -> tuple[Spec, tuple[Problem, ...], Place]:
    if entry.kind is Kind.DIRECT:
        return DirectSpec(entry.device), (), Place()
    try:
        text = read(entry.file)
    except Fault as fault:
        raise Invalid([Problem(place, "pool-file", f"tunnel `{entry.name}`: {fault}")]) from fault
    if entry.kind is Kind.WIREGUARD:
        wireguard = parse_wgquick(text, entry.file)
        return wireguard.spec, wireguard.notes, wireguard.allowed
    openvpn = parse_ovpn(text, entry.file, read)
    return openvpn.spec, openvpn.notes, Place()
