"""What does each test mean? The reference semantics of the table in docs/policy.md, on one value at a time.

All strings are compared as bytes of UTF-8, as the proxy compares them.
"""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import assert_never

import re2

from pointsman.model.attribute import Value
from pointsman.model.context import Absent
from pointsman.model.formula import (
    And,
    AtLeast,
    Atom,
    Const,
    Contains,
    Equals,
    Formula,
    Matches,
    Not,
    Or,
    Prefix,
    Present,
    Substring,
    Suffix,
    Test,
    Within,
)

Network = IPv4Network | IPv6Network


def holds(test: Test, value: Value) -> bool:
    """Say whether a test holds for a value. A value of another type than the test's never passes."""
    match test:
        case Equals(expected):
            return type(value) is type(expected) and value == expected
        case Prefix(text):
            return isinstance(value, str) and value.startswith(text)
        case Suffix(text):
            return isinstance(value, str) and value.endswith(text)
        case Substring(text):
            return isinstance(value, str) and text in value
        case Matches(pattern):
            return isinstance(value, str) and _compiled(pattern).search(value.encode()) is not None
        case AtLeast(bound):
            return isinstance(value, int) and not isinstance(value, bool) and value >= bound
        case Within(text):
            return isinstance(value, str) and _inside(value, text)
        case Contains(member):
            return isinstance(value, tuple) and member in value
        case Present():
            return True
        case _:
            assert_never(test)


def satisfied(formula: Formula, facts: Mapping[str, Value | Absent]) -> bool:
    """Evaluate a formula; a test on an absent attribute is false."""
    match formula:
        case Const(value):
            return value
        case Atom(name, test):
            fact = facts.get(name)
            return fact is not None and not isinstance(fact, Absent) and holds(test, fact)
        case Not(part):
            return not satisfied(part, facts)
        case And(parts):
            return all(satisfied(part, facts) for part in parts)
        case Or(parts):
            return any(satisfied(part, facts) for part in parts)
        case _:
            assert_never(formula)


@lru_cache(maxsize=4096)
def network(text: str) -> Network:
    """Return the network that a canonical CIDR text stands for."""
    return ip_network(text)


def _inside(value: str, text: str) -> bool:
    try:
        return ip_address(value) in network(text)
    except ValueError:
        return False


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> "re2._Regexp":
    # The proxy's RE2 reads bytes, so that a letter outside ASCII is several characters to `.` and to classes.
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    return re2.compile(pattern.encode(), options=options)
