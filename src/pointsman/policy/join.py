"""And, or, not that keep a formula flat: no constants inside, no And in an And, no test twice."""

from collections.abc import Iterable

from pointsman.model.formula import FALSE, TRUE, And, Atom, Const, Formula, Not, Or


def conj(parts: Iterable[Formula]) -> Formula:
    """Return the formula that holds where all parts hold."""
    return _joined(And, parts, TRUE)


def disj(parts: Iterable[Formula]) -> Formula:
    """Return the formula that holds where any part holds."""
    return _joined(Or, parts, FALSE)


def negate(part: Formula) -> Formula:
    """Return the formula that holds where this one does not."""
    if isinstance(part, Const):
        return FALSE if part.value else TRUE
    return part.part if isinstance(part, Not) else Not(part)


def _joined(kind: type[And] | type[Or], parts: Iterable[Formula], empty: Const) -> Formula:
    """Join parts. Tests are told apart by value, larger parts by identity: hashing them costs more than it saves."""
    flat: dict[Atom | int, Formula] = {}
    for part in parts:
        if isinstance(part, Const):
            if part.value != empty.value:
                return part
        elif isinstance(part, kind):
            for inner in part.parts:
                flat[inner if isinstance(inner, Atom) else id(inner)] = inner
        else:
            flat[part if isinstance(part, Atom) else id(part)] = part
    if not flat:
        return empty
    found = tuple(flat.values())
    return found[0] if len(found) == 1 else kind(found)
