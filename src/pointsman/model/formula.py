"""The boolean form of a condition: tests on attributes, joined by and, or, not. The one truth all readers use.

The semantics of every test is the table in docs/policy.md; `policy.evaluate` is its reference in code.
"""

from dataclasses import dataclass

from pointsman.model.attribute import Value


@dataclass(frozen=True, slots=True)
class Equals:
    """The attribute is exactly this value. For a list attribute use `Contains`."""

    value: Value


@dataclass(frozen=True, slots=True)
class Prefix:
    """The string starts with `text`."""

    text: str


@dataclass(frozen=True, slots=True)
class Suffix:
    """The string ends with `text`."""

    text: str


@dataclass(frozen=True, slots=True)
class Substring:
    """The string contains `text`."""

    text: str


@dataclass(frozen=True, slots=True)
class Matches:
    """RE2 finds the pattern somewhere in the string (CEL `matches`)."""

    pattern: str


@dataclass(frozen=True, slots=True)
class AtLeast:
    """The integer is `bound` or more. `x < b` is the negation of this."""

    bound: int


@dataclass(frozen=True, slots=True)
class Within:
    """The address lies in the network, written in canonical CIDR form."""

    network: str


@dataclass(frozen=True, slots=True)
class Contains:
    """The list of strings has this member."""

    member: str


@dataclass(frozen=True, slots=True)
class Present:
    """The attribute has a value. No policy can ask this; the compiler writes it where absence has to count."""


Test = Equals | Prefix | Suffix | Substring | Matches | AtLeast | Within | Contains | Present


@dataclass(frozen=True, slots=True)
class Atom:
    """One test on one attribute."""

    attribute: str
    test: Test


@dataclass(frozen=True, slots=True)
class Not:
    part: "Formula"


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple["Formula", ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple["Formula", ...]


@dataclass(frozen=True, slots=True)
class Const:
    value: bool


TRUE = Const(True)
FALSE = Const(False)

Formula = Atom | Not | And | Or | Const
