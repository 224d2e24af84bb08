"""What is left of a condition once something is known? Conditions are kept as numbers: equal ones have equal numbers.

In here negation stands only before tests, and an attribute with declared values is asked for equality only.
"""

from collections.abc import Iterable
from typing import assert_never

from pointsman.model.attribute import AbsentValue, Attribute, Builtin, Type, Value
from pointsman.model.formula import (
    FALSE,
    TRUE,
    And,
    Atom,
    Const,
    Equals,
    Formula,
    Not,
    Or,
    Prefix,
    Present,
    Substring,
    Suffix,
    Test,
    Within,
)
from pointsman.policy.evaluate import holds, network
from pointsman.policy.implied import Judge

NEVER, ALWAYS = 0, 1


class Conditions:
    """All conditions of one policy, each stored once."""

    def __init__(self, attributes: Iterable[Attribute]) -> None:
        self.attributes = {attribute.name: attribute for attribute in attributes}
        self.domains = {a.name: domain(a) for a in self.attributes.values()}
        self._bits = {name: 1 << place for place, name in enumerate(self.attributes)}
        self._named: dict[int, tuple[str, ...]] = {}
        self._literals: list[tuple[Atom, bool] | None] = [None, None]
        self._parts: list[tuple[int, ...]] = [(), ()]
        self._mentions: list[int] = [0, 0]
        self._numbers: dict[object, int] = {}
        self._added: dict[tuple[int, bool], tuple[Formula, int]] = {}
        self._tests: dict[str, dict[int, tuple[Test, ...]]] = {name: {} for name in self.attributes}

    def add(self, formula: Formula, positive: bool = True) -> int:
        """Return the number of a formula, or of its negation."""
        known = self._added.get((id(formula), positive))
        if known is not None:
            return known[1]
        match formula:
            case Const(value):
                number = ALWAYS if value == positive else NEVER
            case Atom(name, test):
                number = self._test(name, test, positive)
            case Not(part):
                number = self.add(part, not positive)
            case And(parts):
                number = self.join([self.add(part, positive) for part in parts], every=positive)
            case Or(parts):
                number = self.join([self.add(part, positive) for part in parts], every=not positive)
            case _:
                assert_never(formula)
        self._added[id(formula), positive] = (formula, number)  # holding the formula keeps its id its own
        return number

    def join(self, numbers: Iterable[int], every: bool) -> int:
        """Return the conjunction (`every`) or the disjunction of conditions."""
        neutral, final = (ALWAYS, NEVER) if every else (NEVER, ALWAYS)
        parts: set[int] = set()
        for number in numbers:
            if number == final:
                return final
            if number != neutral:
                inner = self._parts[number]
                parts.update(inner[1:] if inner and inner[0] == every else (number,))
        if not parts:
            return neutral
        if len(parts) == 1:
            return parts.pop()
        return final if self._opposed(parts, every) else self._store((int(every), *sorted(parts)))

    def names(self, items: Iterable[tuple[int, int]]) -> tuple[str, ...]:
        """Return the attributes that the conditions of some rules ask about."""
        mask = 0
        for number, _ in items:
            mask |= self._mentions[number]
        if mask not in self._named:
            self._named[mask] = tuple(name for name, bit in self._bits.items() if mask & bit)
        return self._named[mask]

    def mentions(self, number: int, name: str) -> bool:
        """Say whether a condition asks about an attribute."""
        return bool(self._mentions[number] & self._bits[name])

    def tests(self, number: int, name: str) -> tuple[Test, ...]:
        """Return the tests that a condition puts to an attribute, each once and always in the same order."""
        if not self._mentions[number] & self._bits[name]:
            return ()
        known = self._tests[name]
        found = known.get(number)
        if found is None:
            literal = self._literals[number]
            if literal is not None:
                found = (literal[0].test,)
            else:
                bit = self._bits[name]
                asking = [part for part in self._parts[number][1:] if self._mentions[part] & bit]
                found = self.tests(asking[0], name)
                if len(asking) > 1:
                    found = tuple(dict.fromkeys(test for part in asking for test in self.tests(part, name)))
            known[number] = found
        return found

    def rewrite(self, number: int, name: str, judge: Judge, done: dict[int, int]) -> int:
        """Put in what is known of an attribute. `judge` says how a test comes out, or None; `done` belongs to it."""
        if not self._mentions[number] & self._bits[name]:
            return number
        known = done.get(number)
        if known is not None:
            return known
        literal = self._literals[number]
        if literal is None:
            result = self._rewrite_parts(number, name, judge, done)
        else:
            outcome = judge(literal[0].test)
            result = number if outcome is None else ALWAYS if outcome == literal[1] else NEVER
        done[number] = result
        return result

    def _rewrite_parts(self, number: int, name: str, judge: Judge, done: dict[int, int]) -> int:
        key = self._parts[number]
        neutral, final = (ALWAYS, NEVER) if key[0] else (NEVER, ALWAYS)
        bit, mentions = self._bits[name], self._mentions
        kept: list[int] = [key[0]]
        changed: list[int] = []
        for part in key[1:]:
            if not mentions[part] & bit:
                kept.append(part)
                continue
            left = self.rewrite(part, name, judge, done)
            if left == final:
                return final
            if left == part:
                kept.append(part)
            elif left != neutral:
                changed.append(left)
        if changed:
            return self.join([*kept[1:], *changed], every=bool(key[0]))
        # parts were only left out: what remains is in order and free of opposites
        return neutral if len(kept) == 1 else kept[1] if len(kept) == 2 else self._store(tuple(kept))

    def first_mentioned(self, number: int, among: Iterable[str]) -> str:
        """Return the first of some attributes that a condition asks about, or nothing."""
        return next((name for name in among if self.mentions(number, name)), "")

    def explicit(self, number: int, surely: bool) -> Formula:
        """Return a condition as a formula in which a test on an absent attribute is false.

        `surely`: it holds whatever the value of absent attributes may be; otherwise: it may hold.
        """
        literal = self._literals[number]
        if literal is not None:
            return self._explicit_literal(literal[0], literal[1], surely)
        if number in (NEVER, ALWAYS):
            return TRUE if number == ALWAYS else FALSE
        every, *parts = self._parts[number]
        return (And if every else Or)(tuple(self.explicit(part, surely) for part in parts))

    def _explicit_literal(self, atom: Atom, positive: bool, surely: bool) -> Formula:
        absent = self.attributes[atom.attribute].absent
        counts = (holds(atom.test, absent.value) == positive) if isinstance(absent, AbsentValue) else not surely
        present = Atom(atom.attribute, Present())
        if atom.test == Equals("") and not isinstance(self.attributes[atom.attribute].source, Builtin):
            # an empty value counts as absent, so no present value is equal to it
            return (TRUE if counts else present) if not positive else (Not(present) if counts else FALSE)
        if positive:
            return Or((atom, Not(present))) if counts else atom
        return Not(atom) if counts else And((present, Not(atom)))

    def _test(self, name: str, test: Test, positive: bool) -> int:
        values = self.domains[name]
        if values is not None:
            passing = [value for value in values if holds(test, value) == positive]
            if len(passing) == len(values):
                return ALWAYS
            return self.join([self._literal(Atom(name, Equals(value)), True) for value in passing], every=False)
        match test:
            case Prefix("") | Suffix("") | Substring(""):
                return ALWAYS if positive else NEVER
            case Equals(str(address)) if self._free_address(name):
                # text that others wrote need not be canonical: compare addresses, not spellings
                test = Within(str(network(address)))
        return self._literal(Atom(name, test), positive)

    def _free_address(self, name: str) -> bool:
        attribute = self.attributes[name]
        return attribute.type is Type.IP and not isinstance(attribute.source, Builtin)

    def _literal(self, atom: Atom, positive: bool) -> int:
        key = (atom, positive)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._literals)
            self._literals.append(key)
            self._parts.append(())
            self._mentions.append(self._bits[atom.attribute])
        return number

    def _store(self, key: tuple[int, ...]) -> int:
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._literals)
            self._literals.append(None)
            self._parts.append(key)
            mentions = 0
            for part in key[1:]:
                mentions |= self._mentions[part]
            self._mentions.append(mentions)
        return number

    def _opposed(self, parts: set[int], every: bool) -> bool:
        """Say whether two parts exclude each other (of an and) or leave nothing out (of an or)."""
        equal: dict[str, Test] = {}
        for number in parts:
            literal = self._literals[number]
            if literal is None:
                continue
            atom, positive = literal
            if self._numbers.get((atom, not positive)) in parts:
                return True
            same = isinstance(atom.test, Equals) and positive == every
            if same and equal.setdefault(atom.attribute, atom.test) != atom.test:
                return True
        return False


def domain(attribute: Attribute) -> tuple[Value, ...] | None:
    """Return all values that an attribute can have, what absence counts as included, or None where they are open."""
    if attribute.type is Type.STRINGS:
        return None
    values: tuple[Value, ...] | None = (True, False) if attribute.type is Type.BOOL else attribute.values
    if values is None:
        return None
    counted = (attribute.absent.value,) if isinstance(attribute.absent, AbsentValue) else ()
    return tuple(dict.fromkeys((*values, *counted)))
