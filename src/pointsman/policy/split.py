"""How does one attribute part a list of rules? Each way in which it can come out is a cell with what is left there."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from pointsman.model.attribute import Value
from pointsman.model.formula import AtLeast, Equals, Prefix, Suffix, Test, Within
from pointsman.policy.evaluate import network
from pointsman.policy.implied import Judge, judge_test, judge_value, not_equal
from pointsman.policy.index import Index, Items
from pointsman.policy.simplify import ALWAYS, NEVER, Conditions


class State(NamedTuple):
    """Lists of which any could apply: several where an attribute is absent and nothing stands for it.

    Then `whole` is the one list that they came from, in which that attribute is still asked for.
    """

    worlds: tuple[Items, ...]
    whole: Items | None = None


K = TypeVar("K", bound=Value)
LEVEL = 6
_TESTS = 64  # beyond this, a chain of tests on one attribute is no better than a list


@dataclass(frozen=True, slots=True)
class Cell:
    """All tests on the attribute are settled; these rules are left."""

    state: State


@dataclass(frozen=True, slots=True)
class ByValue:
    """One plan per exact value. `other` is None where every value is among the cases."""

    cases: Mapping[Value, "Plan"]
    other: "Plan | None"


@dataclass(frozen=True, slots=True)
class ByPrefix:
    """One plan per longest prefix."""

    cases: Mapping[str, "Plan"]
    other: "Plan"


@dataclass(frozen=True, slots=True)
class ByTest:
    """One plan per outcome of a test."""

    test: Test
    yes: "Plan"
    no: "Plan"


Plan = Cell | ByValue | ByPrefix | ByTest


def split(conditions: Conditions, state: State, name: str, limit: float) -> Plan | None:
    """Part the rules by an attribute; None if that would leave more than `limit` rules in all cells together."""
    values = conditions.domains[name]
    indexes = [Index(conditions, items, name) for items in lists(state)]
    named = dict.fromkeys(test for index in indexes for test in index.named)
    exact = tuple(test.value for test in named if isinstance(test, Equals))
    if values is None and not exact:
        return _by_test(conditions, state, name, limit)
    parted = _by_key(indexes, state, exact if values is None else values, judge_value, limit)
    if parted is None:
        return None
    cases: dict[Value, Plan] = {key: Cell(cell) for key, cell in parted.items()}
    if values is not None:
        return ByValue(cases, None)
    used = sum(map(size, set(parted.values())))
    other = _by_test(conditions, settle(conditions, state, name, not_equal), name, limit - used)
    return None if other is None else ByValue(cases, other)


def cells(plan: Plan) -> Iterator[State]:
    """Yield what is left in each cell of a plan."""
    match plan:
        case Cell(state):
            yield state
        case ByValue(cases, other):
            for case in cases.values():
                yield from cells(case)
            if other is not None:
                yield from cells(other)
        case ByPrefix(cases, rest):
            for case in cases.values():
                yield from cells(case)
            yield from cells(rest)
        case ByTest(_, yes, no):
            yield from cells(yes)
            yield from cells(no)


def levels(plan: Plan) -> dict[State, int]:
    """Return how many nested messages of the proxy's configuration lie above each cell of a plan, at most."""
    found: dict[State, int] = {}
    for state, above in _nested(plan, 0):
        found[state] = max(found.get(state, LEVEL), above)
    return found


def _nested(plan: Plan, above: int) -> Iterator[tuple[State, int]]:
    match plan:
        case Cell(state):
            yield state, above
        case ByValue(cases, other):
            for case in cases.values():
                yield from _nested(case, above + LEVEL)
            if other is not None:
                yield from _nested(other, above + LEVEL)
        case ByPrefix(starts, rest):
            for case in (*starts.values(), rest):
                yield from _nested(case, above + LEVEL)
        case ByTest(_, yes, no):
            yield from _nested(yes, above + LEVEL)
            yield from _nested(no, above if isinstance(no, ByTest) else above + LEVEL)


def settle(conditions: Conditions, state: State, name: str, judge: Judge) -> State:
    """Put in what is known of an attribute."""
    done: dict[int, int] = {}
    return join((_settled(conditions, items, name, judge, done) for items in lists(state)), state)


def size(state: State) -> int:
    """Return the number of rules in all lists."""
    return sum(map(len, state.worlds)) + (0 if state.whole is None else len(state.whole))


def lists(state: State) -> tuple[Items, ...]:
    """Return all lists of a state; the whole, where there is one, is the last."""
    return state.worlds if state.whole is None else (*state.worlds, state.whole)


def join(found: Iterable[Items], like: State) -> State:
    """Return the state of these lists, which came from those of another."""
    worlds = list(found)
    whole = None if like.whole is None else worlds.pop()
    distinct = tuple(dict.fromkeys(worlds))
    return State(distinct, whole if len(distinct) > 1 else None)


def _asked(conditions: Conditions, state: State, name: str) -> list[Test]:
    """Return the tests on an attribute, in the order of the rules."""
    found: dict[Test, None] = {}
    for items in lists(state):
        for number, _ in items:
            found.update(dict.fromkeys(conditions.tests(number, name)))
    return list(found)


def _settled(conditions: Conditions, items: Items, name: str, judge: Judge, done: dict[int, int]) -> Items:
    left: list[tuple[int, int]] = []
    for item in items:
        number = conditions.rewrite(item[0], name, judge, done)
        if number == NEVER:
            continue
        left.append(item if number == item[0] else (number, item[1]))
        if number == ALWAYS:
            break
    return tuple(left)


def _by_key(
    indexes: Sequence[Index], state: State, keys: Sequence[K], judge: Callable[[K], Judge], limit: float
) -> dict[K, State] | None:
    """Return what is left for each exact value or longest prefix; for each, only rules that name it are looked at."""
    if sum(index.fixed for index in indexes) * len(keys) > 4 * limit or len(indexes) * len(keys) > 8 * limit:
        return None
    found: dict[K, State] = {}
    seen: set[State] = set()
    total = 0
    for key in keys:
        settled = judge(key)
        done: dict[int, int] = {}
        cell = join((index.left(key, settled, done) for index in indexes), state)
        if cell not in seen:
            seen.add(cell)
            total += size(cell)
            if total > limit:
                return None
        found[key] = cell
    return found


def _by_test(conditions: Conditions, state: State, name: str, limit: float) -> Plan | None:
    """Part by tests that are not for equality: prefixes by the longest, others one by one, narrowest first.

    No test for equality is left in here.
    """
    asked = _asked(conditions, state, name)
    if size(state) > limit:
        return None
    if not asked:
        return Cell(state)
    prefixes = [test.text for test in asked if isinstance(test, Prefix)]
    if len(asked) - len(prefixes) > _TESTS:
        return None
    if prefixes:
        return _by_prefix(conditions, state, name, prefixes, limit)
    test = min(asked, key=_narrowest)
    plans: list[Plan] = []
    for outcome in (True, False):
        plan = _by_test(conditions, settle(conditions, state, name, judge_test(test, outcome)), name, limit)
        if plan is None:
            return None
        plans.append(plan)
    yes, no = plans
    if sum(map(size, {*cells(yes), *cells(no)})) > limit:
        return None
    return yes if yes == no else ByTest(test, yes, no)


def _by_prefix(conditions: Conditions, state: State, name: str, prefixes: list[str], limit: float) -> Plan | None:
    indexes = [Index(conditions, items, name) for items in lists(state)]
    parted = _by_key(indexes, state, prefixes, _judge_longest, limit)
    if parted is None:
        return None
    cases: dict[str, Plan] = {}
    left = limit
    for prefix, cell in parted.items():
        plan = _by_test(conditions, cell, name, left)
        if plan is None:
            return None
        cases[prefix] = plan
        left -= sum(map(size, set(cells(plan))))
    plain = settle(conditions, state, name, lambda test: False if isinstance(test, Prefix) else None)
    rest = _by_test(conditions, plain, name, left)
    return None if rest is None else ByPrefix(cases, rest)


def _judge_longest(prefix: str) -> Judge:
    """Return how tests come out where this is the longest prefix asked for that the value starts with."""
    known = judge_test(Prefix(prefix), True)
    return lambda test: prefix.startswith(test.text) if isinstance(test, Prefix) else known(test)


def _narrowest(test: Test) -> tuple[int, int]:
    match test:
        case AtLeast(bound):
            return (0, -bound)
        case Within(text):
            return (0, -network(text).prefixlen)
        case Suffix(text):
            return (0, -len(text))
    return (1, 0)  # the rest in the order of the rules: `min` keeps the first
