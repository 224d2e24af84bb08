"""Which profile has this request, on which rule does that rest, and what was compared on the way?"""

from collections.abc import Mapping
from typing import assert_never

from pointsman.model.attribute import Value
from pointsman.model.context import Absent, Context
from pointsman.model.decision import Compared, Deny, Permit
from pointsman.model.diagram import Branch, Leaf, Listing, Next, Node, Prefixes, Switch
from pointsman.model.formula import And, Atom, Const, Formula, Not, Or, Test
from pointsman.policy.context import attributes_of, usable
from pointsman.policy.diagram import Compiled
from pointsman.policy.evaluate import holds, satisfied

Facts = Mapping[str, Value | Absent]
_MISSING = Absent("not given")


def decide(compiled: Compiled, context: Context) -> Permit | Deny:
    """Decide for one request whose context is known."""
    for name, fact in context.facts.items():
        if isinstance(fact, Absent) and fact.among:
            each = [decide(compiled, Context({**context.facts, name: value})) for value in fact.among]
            return _common(each, name)
    trace: list[Compared] = []
    leaf = walk(compiled.root, _facts(compiled, context), trace)
    if leaf is None:
        raise ValueError("the diagram ends without a decision")
    rule = compiled.policy.rules[leaf.rule]
    if rule.profile is None or leaf.absent:
        return Deny(rule.name, tuple(trace), leaf.absent)
    return Permit(rule.profile, rule.name, tuple(trace))


def _common(each: list[Permit | Deny], name: str) -> Permit | Deny:
    """Return the decision that holds whichever of its possible values a fact has; else the deny that it causes."""
    first = each[0]
    outcomes = {one.profile if isinstance(one, Permit) else None for one in each}
    return first if len(outcomes) == 1 else Deny(first.rule, first.trace, name)


def walk(node: Node, facts: Facts, trace: list[Compared]) -> Leaf | None:
    """Follow a diagram to its leaf and note every step; None where no rule of a listing's entry holds."""
    while True:
        match node:
            case Leaf():
                return node
            case Next():
                return None
            case Switch(name, cases, other, absent):
                value = facts.get(name, _MISSING)
                node = absent if isinstance(value, Absent) else cases.get(value, other)
                trace.append(Compared(name, _which(cases, "values"), _shown(value)))
            case Prefixes(name, cases, lengths, other, absent):
                value = facts.get(name, _MISSING)
                start = _longest(value, cases, lengths)
                node = absent if isinstance(value, Absent) else other if start is None else cases[start]
                answer = _shown(value) if isinstance(value, Absent) else "none" if start is None else f'"{start}"'
                trace.append(Compared(name, _which(cases, "prefixes"), answer))
            case Branch(Atom(name, test), yes, no, absent):
                value = facts.get(name, _MISSING)
                passed = not isinstance(value, Absent) and holds(test, value)
                node = absent if isinstance(value, Absent) else yes if passed else no
                answer = _shown(value) if isinstance(value, Absent) else "yes" if passed else "no"
                trace.append(Compared(name, describe(test), answer))
            case Listing(entries):
                return _search(entries, facts, trace)
            case _:
                assert_never(node)


def _which(cases: Mapping[str, Node] | Mapping[Value, Node], what: str) -> str:
    if not cases:
        return "is there one"
    return f"which of {len(cases)} {what}" if len(cases) > 1 else f"is it {_shown(next(iter(cases)))}"


def _search(entries: tuple[tuple[Formula, Node], ...], facts: Facts, trace: list[Compared]) -> Leaf | None:
    for formula, then in entries:
        if satisfied(formula, facts):
            leaf = walk(then, facts, trace)
            if leaf is not None:
                for name in _names(formula):
                    trace.append(Compared(name, "condition of the rule", _shown(facts.get(name, _MISSING))))
                return leaf
    return None


def describe(test: Test) -> str:
    """Return a test in words close to the policy's own."""
    fields = [repr(getattr(test, name)) for name in test.__slots__]
    return f"{type(test).__name__.lower()} {' '.join(fields)}".strip()


def _facts(compiled: Compiled, context: Context) -> Facts:
    """Return the facts as the attributes allow them; node facts went into the diagram already."""
    return {
        attribute.name: usable(attribute, context.facts.get(attribute.name, _MISSING))
        for attribute in attributes_of(compiled.policy)
    }


def _longest(value: Value | Absent, cases: Mapping[str, Node], lengths: tuple[int, ...]) -> str | None:
    if not isinstance(value, str):
        return None
    return next((value[:length] for length in lengths if value[:length] in cases), None)


def _names(formula: Formula) -> list[str]:
    match formula:
        case Const():
            return []
        case Atom(name, _):
            return [name]
        case Not(part):
            return _names(part)
        case And(parts) | Or(parts):
            return list(dict.fromkeys(name for part in parts for name in _names(part)))


def _shown(value: Value | Absent) -> str:
    if isinstance(value, Absent):
        return f"absent: {value.why}"
    return f'"{value}"' if isinstance(value, str) else str(value)
