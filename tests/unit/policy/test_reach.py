"""Rules that never decide are found by structure; rules that may decide are never among them."""

from itertools import product

import pytest

from pointsman.model.formula import FALSE, TRUE, AtLeast, Atom, Equals, Formula, Not, Prefix
from pointsman.policy.join import conj, disj, negate
from pointsman.policy.reach import Unreachable, never, unreachable

A, B, C = (Atom(name, Equals("x")) for name in "abc")
ONE, TWO, THREE = (Atom("n", Equals(value)) for value in (1, 2, 3))


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ([A, B], []),
        ([A, A], [Unreachable(1, 0)]),
        ([TRUE, A, B], [Unreachable(1, 0), Unreachable(2, 0)]),
        ([A, conj([A, B])], [Unreachable(1, 0)]),
        ([conj([A, B]), conj([B, C, A])], [Unreachable(1, 0)]),
        ([conj([A, B]), A], []),
        ([disj([ONE, TWO]), ONE, conj([TWO, A]), THREE], [Unreachable(1, 0), Unreachable(2, 0)]),
        ([disj([ONE, TWO, THREE]), disj([ONE, TWO])], [Unreachable(1, 0)]),
        ([disj([ONE, TWO]), disj([TWO, THREE])], []),
        ([FALSE, A], [Unreachable(0, None)]),
        ([conj([ONE, TWO])], [Unreachable(0, None)]),
        ([conj([A, negate(A)])], [Unreachable(0, None)]),
        ([Not(A), A, B], []),
    ],
)
def test_rules_that_never_decide_are_found(conditions: list[Formula], found: list[Unreachable]) -> None:
    assert list(unreachable(conditions)) == found


@pytest.mark.parametrize(
    "formula",
    [
        conj([ONE, negate(disj([ONE, TWO]))]),
        conj([disj([ONE, TWO]), disj([THREE, Atom("n", Equals(4))])]),
        conj([Atom("n", AtLeast(5)), negate(Atom("n", AtLeast(5)))]),
        conj([Atom("n", AtLeast(9)), negate(Atom("n", AtLeast(5)))]),
        conj([ONE, Atom("n", AtLeast(2))]),
        conj([Atom("p", Equals("/a")), Atom("p", Prefix("/b"))]),
        disj([conj([ONE, TWO]), conj([A, negate(A)])]),
    ],
)
def test_a_contradiction_never_holds(formula: Formula) -> None:
    assert never(formula)


def test_what_can_hold_is_never_called_impossible() -> None:
    literals = [ONE, TWO, A, Atom("n", AtLeast(2))]
    for signs in product((True, False, None), repeat=len(literals)):
        chosen = [one if sign else negate(one) for one, sign in zip(literals, signs, strict=True) if sign is not None]
        possible = any(all(_holds(part, n, a) for part in chosen) for n, a in product((0, 1, 2, 3), ("x", "y")))
        assert not (possible and never(conj(chosen))), chosen


def _holds(part: Formula, n: int, a: str) -> bool:
    match part:
        case Not(inner):
            return not _holds(inner, n, a)
        case Atom("n", Equals(value)):
            return n == value
        case Atom("n", AtLeast(bound)):
            return n >= bound
    return a == "x"
