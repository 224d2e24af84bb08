import pytest

from pointsman.gateway.addresses import Pool, free_slot
from tests.unit.gateway.samples import asked, granted

POOL = Pool(("10.71.0.0/29", "fd71::/64"))


def test_a_slot_is_the_same_host_in_both_networks() -> None:
    assert (POOL.gateway, POOL.at(5), POOL.last) == (("10.71.0.1", "fd71::1"), ("10.71.0.5", "fd71::5"), 6)


@pytest.mark.parametrize(
    ("taken", "before", "slot"),
    [
        ((), 0, 2),
        ((2,), 2, 3),
        ((), 2, 3),  # 2 was given back, and rests
        ((3, 4), 2, 5),
        ((), 6, 2),
        ((2, 3), 6, 4),
        ((2, 3, 4, 5, 6), 3, None),
        ((2, 3, 5, 6), 5, 4),
    ],
)
def test_slots_go_round(taken: tuple[int, ...], before: int, slot: int | None) -> None:
    assert free_slot(POOL, taken, before) == slot


def test_an_address_that_was_given_back_is_not_the_next_to_be_given_out() -> None:
    state = granted(asked("a", number=1)).without(("alpha", "a"))
    again = granted(asked("b", number=2), state=state)

    assert again.grants["alpha", "b"].addresses == ("10.71.0.3", "fd71::3")
    assert granted(asked("a", number=1)).grants["alpha", "a"].addresses == ("10.71.0.2", "fd71::2")


def test_a_tunnel_that_is_asked_for_again_takes_no_rest_from_the_address_that_was_given_back() -> None:
    state = granted(asked("a", number=1), asked("b", number=2)).without(("alpha", "b"))
    again = granted(asked("c", number=3), state=granted(asked("a", number=1), state=state))

    assert again.grants["alpha", "c"].addresses == ("10.71.0.4", "fd71::4")


def test_a_huge_network_has_a_bounded_number_of_slots() -> None:
    assert Pool(("fd71::/64",)).last == 1 << 20
