"""Whose entry a captured connection is in, and who has to begin anew."""

from dataclasses import dataclass, field

import pytest

from pointsman.model.connection import Connection
from pointsman.node.placing import MOST_ASKED, Placing, belongs
from pointsman.system.log import Log

NAMED = (2001, 2002)
CLASSES = {2001: 202, 2002: 203, 3001: 204}  # 3001 is a holder that no rule names


@dataclass
class Kernel:
    """Knows whose each connection is, and counts the questions; `seen` is what seems so."""

    users: dict[int, int | None]
    seen: dict[int, frozenset[int]] = field(default_factory=dict)
    asked: int = 0

    def seeming(self, taken: Connection) -> frozenset[int]:
        return self.seen.get(taken.remote_port, frozenset({self.users[taken.remote_port] or 0}))

    def user_of(self, taken: Connection) -> int | None:
        self.asked += 1
        return self.users[taken.remote_port]


def taken(entry: int, caller: int) -> Connection:
    return Connection("127.0.0.1", entry, "192.0.2.10", caller, 64001, handle=caller.to_bytes(8))


def placing() -> Placing:
    return Placing(Log())


def test_a_user_whom_rules_name_is_in_his_own_entries_and_nobody_else_is() -> None:
    right = [(2001, 202), (5000, 201), (5000, 277), (3001, 204), (3001, 201), (2001, 200)]
    wrong = [(2001, 201), (2001, 203), (2001, 277), (5000, 202), (5000, 204), (3001, 202)]

    assert [one for one in right + wrong if belongs(*one, CLASSES, NAMED)] == right


def test_who_is_in_anothers_entry_is_ended_and_who_has_closed_is_not() -> None:
    here = [taken(20100, 1), taken(20200, 2), taken(20100, 3), taken(20100, 4)]

    found = placing().misplaced(here, CLASSES, NAMED, Kernel({1: 2001, 2: 2001, 3: None, 4: 5000}))

    assert found == [here[0]]


@pytest.mark.parametrize("seen", [frozenset(), frozenset({2001, 5000}), frozenset({0})])
def test_where_it_is_not_plain_whose_it_is_the_kernel_is_asked(seen: frozenset[int]) -> None:
    for uid, number, wrong in ((5000, 201, False), (2001, 201, True), (5000, 202, True), (2001, 202, False)):
        kernel = Kernel({1: uid}, {1: seen})
        here = [taken(number * 100, 1)]

        assert placing().misplaced(here, CLASSES | {0: 206}, (*NAMED, 0), kernel) == (here if wrong else [])
        assert kernel.asked == 1


def test_root_where_no_rule_names_him_costs_no_question() -> None:
    kernel = Kernel({1: 0})

    assert placing().misplaced([taken(20100, 1)], CLASSES, NAMED, kernel) == []
    assert kernel.asked == 0


def test_one_turn_asks_so_often_and_the_next_goes_on() -> None:
    here = [taken(20100, caller) for caller in range(1, MOST_ASKED + 11)]
    kernel, watched = (
        Kernel(dict.fromkeys(range(1, MOST_ASKED + 11), 2001), dict.fromkeys(range(500), frozenset())),
        placing(),
    )

    assert len(watched.misplaced(here, CLASSES, NAMED, kernel)) == MOST_ASKED
    assert watched.misplaced(here[MOST_ASKED:], CLASSES, NAMED, kernel) == here[MOST_ASKED:]


def test_each_is_asked_about_once_and_again_when_a_policy_names_others() -> None:
    here, kernel, watched = [taken(20100, 1)], Kernel({1: 5000}, {1: frozenset()}), placing()

    found = [watched.misplaced(here, CLASSES, NAMED, kernel) for _ in range(3)]
    assert (found, kernel.asked) == ([[], [], []], 1)
    assert watched.misplaced(here, CLASSES | {5000: 205}, (*NAMED, 5000), kernel) == here
