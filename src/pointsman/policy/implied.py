"""How does a test come out on a value of which something is known?"""

from collections.abc import Callable

from pointsman.model.attribute import Value
from pointsman.model.formula import AtLeast, Equals, Prefix, Substring, Suffix, Test, Within
from pointsman.policy.evaluate import holds, network

Judge = Callable[[Test], bool | None]


def implied(asked: Test, known: Test, outcome: bool) -> bool | None:
    """Say how a test comes out on a value for which another test came out so; None if that is open."""
    if asked == known:
        return outcome
    if not outcome:
        # what fails the wider test fails the narrower
        return False if implied(known, asked, True) else None
    match known, asked:
        case (Prefix(a), Prefix(b)):
            return True if a.startswith(b) else None if b.startswith(a) else False
        case (Suffix(a), Suffix(b)):
            return True if a.endswith(b) else None if b.endswith(a) else False
        case (Prefix(a) | Suffix(a) | Substring(a), Substring(b)):
            return True if b in a else None
        case (AtLeast(a), AtLeast(b)):
            return True if a >= b else None
        case (Within(a), Within(b)):
            return _nested(a, b)
    return None


def judge_value(value: Value) -> Judge:
    """Return how tests come out on a value."""
    return lambda test: holds(test, value)


def judge_test(known: Test, outcome: bool) -> Judge:
    """Return how tests come out where one of them came out so."""
    return lambda test: implied(test, known, outcome)


def not_equal(test: Test) -> bool | None:
    """Judge tests on a value that is none of those that are asked for by equality."""
    return False if isinstance(test, Equals) else None


def _nested(inner: str, outer: str) -> bool | None:
    a, b = network(inner), network(outer)
    if a.version != b.version or not a.overlaps(b):
        return False
    return True if a.prefixlen >= b.prefixlen else None
