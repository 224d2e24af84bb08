"""One list of rules by the values and prefixes of an attribute that they name, so that looking up needs no search."""

from collections.abc import Iterable, Mapping

from pointsman.model.attribute import Value
from pointsman.model.formula import Equals, Prefix, Test
from pointsman.policy.implied import Judge
from pointsman.policy.simplify import ALWAYS, NEVER, Conditions

# Rules in order, as (number of what is left of the condition, index of the rule); cut after one that always holds.
Items = tuple[tuple[int, int], ...]


class Index:
    """One list of rules by the values and prefixes of an attribute that they name."""

    def __init__(self, conditions: Conditions, items: Items, name: str) -> None:
        self._conditions, self._items, self._name = conditions, items, name
        self._own: dict[Test, list[int]] = {}
        self._patterned: list[int] = []
        self._base: dict[int, int] = {}
        done: dict[int, int] = {}
        for place, (number, _) in enumerate(items):
            tests = conditions.tests(number, name)
            if not tests:
                self._base[place] = number
                continue
            for test in tests:
                if isinstance(test, (Equals, Prefix)):
                    self._own.setdefault(test, []).append(place)
                elif not self._patterned or self._patterned[-1] != place:
                    self._patterned.append(place)
            left = conditions.rewrite(number, name, _none_named, done)
            if left != NEVER:
                self._base[place] = left
        lengths = {len(test.text) for test in self._own if isinstance(test, Prefix)}
        self._lengths = tuple(sorted(lengths, reverse=True))
        self._plain = ordered(self._base, items)

    @property
    def named(self) -> Iterable[Test]:
        """Return the values and prefixes that rules name, in their order."""
        return self._own

    @property
    def fixed(self) -> int:
        """Return how many rules each key has to look at, whatever it is."""
        return len(self._base) + len(self._patterned)

    def left(self, key: Value, judge: Judge, done: dict[int, int]) -> Items:
        """Return what is left for a value or longest prefix."""
        places = [*self._patterned, *self._own.get(Equals(key), ())]
        if isinstance(key, str):
            for length in self._lengths:
                places += self._own.get(Prefix(key[:length]), ()) if length <= len(key) else ()
        if not places:
            return self._plain
        merged = dict(self._base)
        for place in places:
            merged[place] = self._conditions.rewrite(self._items[place][0], self._name, judge, done)
        return ordered(merged, self._items)


def ordered(left: Mapping[int, int], items: Items) -> Items:
    """Return what is left of rules, by their places, as a list."""
    kept: list[tuple[int, int]] = []
    for place in sorted(left):
        number = left[place]
        if number != NEVER:
            kept.append((number, items[place][1]))
            if number == ALWAYS:
                break
    return tuple(kept)


def _none_named(test: Test) -> bool | None:
    return False if isinstance(test, (Equals, Prefix)) else None
