from dataclasses import replace

from pointsman.gateway.addresses import Pool
from pointsman.gateway.admission import Admitted, Refused, admit, unfit
from pointsman.gateway.grant import OPERATOR, State
from pointsman.model.tunnel import Kind
from tests.unit.gateway.samples import CAPACITY, POOLS, asked, granted, only


def labels(decided: Admitted | Refused) -> list[str]:
    return [reason.label for reason in decided.reasons] if isinstance(decided, Refused) else []


def test_the_first_tunnel_gets_the_second_address_of_each_network() -> None:
    decided = admit(asked(ttl=60), State(), CAPACITY, 1000.0)

    assert isinstance(decided, Admitted)
    assert decided.fresh
    assert decided.grant.addresses == ("10.71.0.2", "fd71::2")
    assert decided.grant.expires == 1060.0


def test_asked_again_in_the_same_words_a_tunnel_stays_and_its_time_begins_anew() -> None:
    state = granted(asked())
    decided = admit(asked(), state, CAPACITY, 30.0)

    assert decided == Admitted(replace(only(state), expires=90.0), fresh=False)


def test_another_request_for_a_known_name_is_refused_and_names_of_other_nodes_are_free() -> None:
    state = granted(asked(number=1))

    assert labels(admit(asked(number=2), state, CAPACITY, 0)) == ["id-taken"]
    assert labels(admit(asked(owner="beta", number=2), state, CAPACITY, 0)) == []


def test_a_key_belongs_to_one_tunnel() -> None:
    assert labels(admit(asked("b", number=1), granted(asked("a", number=1)), CAPACITY, 0)) == ["key-taken"]


def test_all_reasons_are_told_at_once() -> None:
    full = granted(*(asked(str(number), number=number, bandwidth=2_000_000) for number in range(1, 6)))
    decided = admit(asked("new", number=1, bandwidth=1), full, CAPACITY, 0)

    assert labels(decided) == [
        *("addresses-used-up", "key-taken", "tunnels-used-up"),
        *("node-used-up", "bandwidth-used-up", "node-bandwidth-used-up"),
    ]


def test_what_is_reserved_counts_and_what_is_not_limited_does_not() -> None:
    state = granted(asked("a", number=1, bandwidth=6_000_000), asked("b", number=2))

    assert labels(admit(asked("c", "beta", 3, bandwidth=4_000_000), state, CAPACITY, 0)) == []
    assert labels(admit(asked("c", "beta", 3, bandwidth=4_000_001), state, CAPACITY, 0)) == ["bandwidth-used-up"]
    assert labels(admit(asked("c", number=3), state, CAPACITY, 0)) == []


def test_one_node_reserves_no_more_than_its_part_and_others_and_the_operator_have_theirs() -> None:
    state = granted(asked("a", number=1, bandwidth=2_000_000), asked("b", OPERATOR, 2, bandwidth=3_000_000))
    capacity = replace(CAPACITY, bandwidth_per_node=4_000_000)

    def found(owner: str, bandwidth: int) -> list[str]:
        return labels(admit(asked("c", owner, 3, bandwidth=bandwidth), state, capacity, 0))

    assert (found("alpha", 2_000_000), found("alpha", 2_000_001)) == ([], ["node-bandwidth-used-up"])
    assert (found("beta", 4_000_000), found("beta", 4_000_001)) == ([], ["node-bandwidth-used-up"])
    assert found(OPERATOR, 5_000_000) == []
    assert labels(admit(asked("c", number=3, bandwidth=10**12), state, replace(capacity, bandwidth=None), 0)) == [
        "node-bandwidth-used-up"
    ]


def test_the_operator_is_held_by_the_whole_capacity_alone() -> None:
    state = granted(*(asked(str(number), OPERATOR, number) for number in range(1, 4)))

    assert labels(admit(asked("d", OPERATOR, 4), state, CAPACITY, 0)) == []


def test_a_kind_that_is_not_offered_is_refused() -> None:
    capacity = replace(CAPACITY, pools={Kind.OPENVPN: POOLS[Kind.OPENVPN]})

    assert labels(admit(asked(), State(), capacity, 0)) == ["kind-not-offered"]


def test_tunnels_of_other_networks_or_kinds_do_not_fit_a_changed_file() -> None:
    state = granted(asked("a", number=1))
    moved = replace(CAPACITY, pools={Kind.WIREGUARD: Pool(("10.99.0.0/24", "fd71::/64"))})

    assert unfit(state, CAPACITY) == ()
    assert unfit(state, moved) == (("alpha", "a"),)
    assert unfit(state, replace(CAPACITY, pools={})) == (("alpha", "a"),)
