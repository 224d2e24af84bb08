"""Users in the diagram: known by the class of their entry ports."""

import pytest

from pointsman.dataplane.users import Classes, named
from pointsman.model.attribute import Value
from pointsman.model.diagram import Branch, Leaf, Listing, Node, Prefixes, Switch
from pointsman.model.formula import TRUE, And, AtLeast, Atom, Equals, Formula, Not, Or
from pointsman.model.policy import Policy, Rule
from pointsman.model.problem import Invalid, Place

FIRST, SECOND = Leaf(0), Leaf(1)


def _uid(value: Value) -> Atom:
    return Atom("process.uid", Equals(value))


def _policy(*conditions: Formula) -> Policy:
    rules = tuple(Rule(f"r{place}", when, None, "", Place()) for place, when in enumerate((*conditions, TRUE)))
    return Policy("p", "1", (), (), (), rules, None)


def test_the_users_of_a_policy_are_those_that_its_rules_name() -> None:
    assert named(_policy(And((_uid(7), Not(Or((_uid(8), _uid(7)))))), Atom("x", Equals(9)))) == {7, 8}


def test_every_kind_of_node_is_asked_by_class() -> None:
    classes = Classes({7: 202})
    switch = classes.rewrite(Switch("process.uid", {7: FIRST}, SECOND, SECOND))
    assert isinstance(switch, Switch)
    assert switch.cases == {202: FIRST}
    branch = classes.rewrite(Branch(_uid(7), FIRST, SECOND, SECOND))
    assert isinstance(branch, Branch)
    assert branch.atom == _uid(202)
    listing = classes.rewrite(Listing(((Not(_uid(7)), FIRST), (TRUE, SECOND))))
    assert isinstance(listing, Listing)
    assert listing.entries[0][0] == Not(_uid(202))
    prefixes = classes.rewrite(Prefixes("request.path", {"/": branch}, (1,), FIRST, SECOND))
    assert isinstance(prefixes, Prefixes)


def test_a_shared_node_stays_one() -> None:
    shared: Node = Branch(_uid(7), FIRST, SECOND, SECOND)
    found = Classes({7: 202}).rewrite(Switch("x", {"a": shared, "b": shared}, FIRST, FIRST))
    assert isinstance(found, Switch)
    assert found.cases["a"] is found.cases["b"]


def test_a_range_of_users_is_a_problem() -> None:
    with pytest.raises(Invalid, match="name the users"):
        Classes({}).rewrite(Branch(Atom("process.uid", AtLeast(1000)), FIRST, SECOND, SECOND))
