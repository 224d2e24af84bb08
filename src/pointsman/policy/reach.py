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
    known = _Parts()
    parts = [known.of(condition) for condition in conditions]
    common = Counter(part for each in parts for part in each)
    earlier: dict[int, list[int]] = {}
    always: int | None = None
    for index, condition in enumerate(conditions):
        if never(condition):
            found.append(Unreachable(index, None))
            continue
        by = always if always is not None else _implied_by(parts[index], parts, earlier, known)
        if by is not None:
            found.append(Unreachable(index, by))
        elif condition == TRUE:
            always = index
        else:
            rarest = min(parts[index], key=common.__getitem__)
            for key in {rarest, *known.choices[rarest]}:
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


class _Parts:
    """Formulas by number: comparing numbers is cheap, and equal formulas have equal ones.

    `choices` holds what each chooses from, which is itself for all but an `Or`; `plain` are neither `And` nor `Not`.
    """

    def __init__(self) -> None:
        self.choices: list[tuple[int, ...]] = []
        self.plain: set[int] = set()
        self._numbers: dict[Formula, int] = {}

    def of(self, condition: Formula) -> tuple[int, ...]:
        """Return the parts that all have to hold."""
        parts = condition.parts if isinstance(condition, And) else (condition,)
        return tuple(map(self._number, parts))

    def _number(self, formula: Formula) -> int:
        known = self._numbers.get(formula)
        if known is not None:
            return known
        choices = tuple(map(self._number, formula.parts)) if isinstance(formula, Or) else ()
        number = self._numbers[formula] = len(self.choices)
        self.choices.append(choices or (number,))
        if not isinstance(formula, And | Not):
            self.plain.add(number)
        return number


def _implied_by(
    mine: tuple[int, ...], parts: Sequence[tuple[int, ...]], earlier: dict[int, list[int]], known: _Parts
) -> int | None:
    """Return the first earlier rule all of whose parts follow from one of these. Looks at a bounded number of them."""
    have = set(mine)
    best: int | None = None
    for key in {key for part in mine for key in (part, known.choices[part][0])}:
        for candidate in earlier.get(key, ())[:_LOOKS]:
            if (best is None or candidate < best) and all(
                need in have or _follows(need, have, known) for need in parts[candidate]
            ):
                best = candidate
    return best


def _follows(need: int, have: set[int], known: _Parts) -> bool:
    """Return whether one of several choices is left where these parts hold."""
    choices = known.choices[need]
    return choices != (need,) and any(set(known.choices[part]) <= set(choices) for part in have & known.plain)


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
