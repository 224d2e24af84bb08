"""Entry ports: which there are, and that they keep their meaning."""

import pytest

from pointsman.dataplane.entries import CLASSES, plan, user_classes
from pointsman.model.entry import Entry, Mode
from pointsman.model.problem import Invalid

LANES = ("fast@a", "safe@b")


def test_each_user_and_outcome_has_a_port_and_its_class_in_front() -> None:
    assert plan({1001}, LANES, Mode) == (
        Entry(20000, Mode.TCP, None, ""),
        Entry(20001, Mode.TCP, None, "fast@a"),
        Entry(20002, Mode.TCP, None, "safe@b"),
        Entry(20100, Mode.HTTP, None, ""),
        Entry(20101, Mode.AUTO, None, ""),
        Entry(20102, Mode.AUTO, None, "fast@a"),
        Entry(20103, Mode.AUTO, None, "safe@b"),
        Entry(20200, Mode.HTTP, 1001, ""),
        Entry(20201, Mode.AUTO, 1001, ""),
        Entry(20202, Mode.AUTO, 1001, "fast@a"),
        Entry(20203, Mode.AUTO, 1001, "safe@b"),
    )


def test_without_plain_tcp_there_is_one_port_for_each_user() -> None:
    assert plan({1001}, LANES, {Mode.HTTP}) == (Entry(20100, Mode.HTTP, None), Entry(20200, Mode.HTTP, 1001))


def test_what_stays_keeps_its_port_when_others_come_and_go() -> None:
    before = plan({1001, 1002}, LANES, Mode)
    after = plan({1000, 1002}, ("early@a", "safe@b"), Mode, before)
    ports = {(entry.mode, entry.uid, entry.lane): entry.port for entry in before}
    kept = {(entry.mode, entry.uid, entry.lane): entry.port for entry in after}
    assert {key: kept[key] for key in kept if key in ports} == {key: ports[key] for key in kept if key in ports}
    assert len(set(kept.values())) == len(kept)
    assert user_classes(after)[1002] == user_classes(before)[1002]


def test_a_class_has_no_other_user_at_once_nor_while_anybody_is_in_it() -> None:
    before = plan({1001}, LANES, Mode)

    assert user_classes(plan({1002}, LANES, Mode, before)) == {1002: 203}
    assert user_classes(plan({1002}, LANES, Mode, occupied={202, 203})) == {1002: 204}


def test_a_port_leads_to_no_other_lane_in_the_change_in_which_its_own_goes() -> None:
    before = plan({1001}, ("secret@a",), Mode)
    after = plan({1001}, ("open@b",), Mode, before)

    assert {entry.port for entry in before if entry.lane} & {entry.port for entry in after if entry.lane} == set()


def test_where_every_class_is_occupied_a_new_user_gets_one_all_the_same() -> None:
    assert user_classes(plan({1002}, LANES, Mode, occupied=range(200, 300))) == {1002: 202}


def test_users_are_known_by_the_first_three_digits() -> None:
    entries = plan({1001, 2002}, LANES, Mode)
    assert user_classes(entries) == {1001: 202, 2002: 203}


def test_more_users_than_there_are_classes_are_a_problem() -> None:
    plan(range(1, CLASSES - 1), (), Mode)
    with pytest.raises(Invalid, match="at most 98"):
        plan(range(1, CLASSES), (), Mode)
