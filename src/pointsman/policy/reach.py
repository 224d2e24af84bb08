"""Which rules can never decide? Judged by structure, not by proof: all that is reported is certain."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pointsman.model.attribute import Value
from pointsman.model.formula import FALSE, TRUE, And, AtLeast, Atom, Equals, Formula, Not, Or, Prefix

_LOOKS = 64


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A rule that never decides: `by` is the earlier rule that always does, None if its own condition never holds."""

    rule: int
    by: int | None


def unreachable(conditions: Sequence[Formula]) -> tuple[Unreachable, ...]:
    """Return the rules that never decide: they come too late, or contradict themselves."""
    found: list[Unreachable] = []
    parts = [_parts(condition) for condition in conditions]
    common = Counter(part for each in parts for part in each)
    earlier: dict[Formula, list[int]] = {}
    always: int | None = None
    for index, condition in enumerate(conditions):
        if never(condition):
            found.append(Unreachable(index, None))
            continue
        by = always if always is not None else _implied_by(parts[index], parts, earlier)
        if by is not None:
            found.append(Unreachable(index, by))
        elif condition == TRUE:
            always = index
        else:
            rarest = min(parts[index], key=lambda part: common[part])
            for key in {rarest, *_choices(rarest)}:
                earlier.setdefault(key, []).append(index)
    return tuple(found)


def never(formula: Formula) -> bool:
    """Return whether a formula can be seen to hold nowhere."""
    if formula == FALSE:
        return True
    if isinstance(formula, Or):
        return all(never(part) for part in formula.parts)
    if isinstance(formula, And):
        return _contradict(formula.parts) or any(never(part) for part in formula.parts)
    return False


def _parts(condition: Formula) -> tuple[Formula, ...]:
    return condition.parts if isinstance(condition, And) else (condition,)


def _implied_by(
    mine: tuple[Formula, ...], parts: Sequence[tuple[Formula, ...]], earlier: dict[Formula, list[int]]
) -> int | None:
    """Return the first earlier rule all of whose parts follow from one of these. Looks at a bounded number of them."""
    have = set(mine)
    best: int | None = None
    for key in {key for part in mine for key in (part, *tuple(_choices(part))[:1])}:
        for candidate in earlier.get(key, ())[:_LOOKS]:
            if (best is None or candidate < best) and all(_follows(need, have) for need in parts[candidate]):
                best = candidate
    return best


def _follows(need: Formula, have: set[Formula]) -> bool:
    if need in have:
        return True
    if isinstance(need, Or):
        return any(set(_choices(part)) <= set(need.parts) for part in have if not isinstance(part, (And, Not)))
    return False


def _choices(part: Formula) -> Iterable[Formula]:
    return part.parts if isinstance(part, Or) else (part,)


def _contradict(parts: Iterable[Formula]) -> bool:
    """Return whether parts exclude each other: two values, a test and its opposite, an empty range."""
    parts = tuple(parts)
    if len({part.attribute for part in parts if isinstance(part, Atom)}) == len(parts):
        return False
    whole = set(parts)
    allowed: dict[str, set[Value]] = {}
    least: dict[str, int] = {}
    below: dict[str, int] = {}
    for part in parts:
        if isinstance(part, Not) and (
            part.part in whole or (isinstance(part.part, Or) and not whole.isdisjoint(part.part.parts))
        ):
            return True
        attribute, values = _values(part)
        if attribute:
            allowed[attribute] = allowed[attribute] & values if attribute in allowed else values
        match part:
            case Atom(name, AtLeast(bound)):
                least[name] = max(bound, least.get(name, bound))
            case Not(Atom(name, AtLeast(bound))):
                below[name] = min(bound, below.get(name, bound))
    for name, values in allowed.items():
        left = {
            value for value in values if Not(Atom(name, Equals(value))) not in whole and not _misses(value, name, parts)
        }
        if not left:
            return True
    return any(name in below and bound >= below[name] for name, bound in least.items())


def _values(part: Formula) -> tuple[str, set[Value]]:
    """Return the attribute that this part pins to certain values, and the values."""
    match part:
        case Atom(name, Equals(value)):
            return name, {value}
        case Or(choices):
            pinned = [_values(choice) for choice in choices]
            if len({name for name, _ in pinned}) == 1 and pinned[0][0]:
                return pinned[0][0], set().union(*(values for _, values in pinned))
    return "", set()


def _misses(value: Value, name: str, parts: Iterable[Formula]) -> bool:
    """Return whether another of the parts excludes this value."""
    for part in parts:
        match part:
            case Atom(other, Prefix(text)) if other == name and isinstance(value, str) and not value.startswith(text):
                return True
            case Atom(other, AtLeast(bound)) if other == name and isinstance(value, int) and value < bound:
                return True
            case Not(Atom(other, AtLeast(bound))) if other == name and isinstance(value, int) and value >= bound:
                return True
    return False
