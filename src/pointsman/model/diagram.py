"""The reduced, ordered decision diagram: what all readers of a policy are fed from."""

from collections.abc import Mapping
from dataclasses import dataclass

from pointsman.model.attribute import Value
from pointsman.model.formula import Atom, Formula


@dataclass(frozen=True, eq=False, slots=True)
class Leaf:
    """The rule at this index decides. `absent` names the attribute whose absence made this a deny, if one did."""

    rule: int
    absent: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Next:
    """No rule of this entry holds: the next entry of the nearest listing above decides."""


@dataclass(frozen=True, eq=False, slots=True)
class Switch:
    """Branch on the exact value of an attribute; `absent` is where it has none."""

    attribute: str
    cases: Mapping[Value, "Node"]
    other: "Node"
    absent: "Node"


@dataclass(frozen=True, eq=False, slots=True)
class Prefixes:
    """Branch on the longest of the cases that a string starts with; `lengths` are theirs, longest first."""

    attribute: str
    cases: Mapping[str, "Node"]
    lengths: tuple[int, ...]
    other: "Node"
    absent: "Node"


@dataclass(frozen=True, eq=False, slots=True)
class Branch:
    """Branch on one test."""

    atom: Atom
    yes: "Node"
    no: "Node"
    absent: "Node"


@dataclass(frozen=True, eq=False, slots=True)
class Listing:
    """Where a tree would multiply: (condition, then) in order, first match; the last condition always holds.

    The conditions already say what absence means: in them a test on an absent attribute is false.
    A node in here may end in `Next`, except below the last entry.
    """

    entries: tuple[tuple[Formula, "Node"], ...]


Node = Leaf | Next | Switch | Prefixes | Branch | Listing
