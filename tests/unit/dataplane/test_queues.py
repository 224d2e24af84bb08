"""Queues of lanes on devices whose rate is known, and the order of the steps that lead there."""

from dataclasses import replace

from pointsman.dataplane.queues import priority, queue_steps, want_queues
from pointsman.model.profile import Level, Limits, Profile, Qos
from pointsman.model.queues import REST, WHOLE, Discipline, DropQueue, PutQueue, Queue
from pointsman.model.tunnel import Kind, Lane, State, Tunnel

MASK = 0x3FF00000
A = Tunnel("a", Kind.WIREGUARD, Level.STRONG, (), State.UP, "pma", ("10.71.0.2",), (), 7101, 1420, rate=80_000_000)
B = replace(A, name="b", device="pmb", rate=None)
QUICK = Profile("quick", Level.STRONG, qos=Qos.INTERACTIVE, limits=Limits(guaranteed=16_000_000))
BULK = Profile("bulk", Level.STRONG, qos=Qos.BULK, limits=Limits(bandwidth=40_000_000))
LANES = [Lane("quick", "a", 0x00200000, "pma", ()), Lane("bulk", "a", 0x00300000, "pma", ())]
WHOLE_A, REST_A = Queue("pma", WHOLE, 10_000_000, 10_000_000, 0), Queue("pma", REST, 1_000_000, 10_000_000, 2)
QUICK_A, BULK_A = Queue("pma", 2, 2_000_000, 10_000_000, 1), Queue("pma", 3, 100_000, 5_000_000, 3)
ALL = frozenset({Discipline("pma"), WHOLE_A, REST_A, QUICK_A, BULK_A})


def test_a_lane_has_what_its_profile_is_guaranteed_and_at_most_its_bandwidth() -> None:
    assert want_queues([A], LANES, [QUICK, BULK], MASK) == ALL


def test_where_no_rate_is_known_there_is_no_queue() -> None:
    lanes = [replace(lane, tunnel="b", device="pmb") for lane in LANES]

    assert want_queues([B], lanes, [QUICK, BULK], MASK) == frozenset()


def test_guarantees_beyond_the_rate_give_up_the_same_part() -> None:
    greedy = [replace(profile, limits=Limits(guaranteed=72_000_000)) for profile in (QUICK, BULK)]

    found = {part.minor: part.guaranteed for part in want_queues([A], LANES, greedy, MASK) if isinstance(part, Queue)}

    assert found == {WHOLE: 10_000_000, REST: 1_000_000, 2: 4_500_000, 3: 4_500_000}


def test_the_priority_of_a_lane_names_its_queue() -> None:
    assert [priority(lane, MASK) for lane in LANES] == ["7112:2", "7112:3"]


def test_a_discipline_comes_before_its_queues_and_takes_them_along() -> None:
    puts = [PutQueue(part) for part in (Discipline("pma"), WHOLE_A, QUICK_A, BULK_A, REST_A)]

    assert queue_steps(ALL, frozenset()) == tuple(puts)
    assert queue_steps(frozenset(), ALL) == (DropQueue(Discipline("pma")),)
    assert queue_steps(ALL, ALL) == ()


def test_a_changed_queue_is_put_and_only_a_lost_one_is_dropped() -> None:
    faster = replace(QUICK_A, guaranteed=3_000_000)

    steps = queue_steps(ALL - {QUICK_A, BULK_A} | {faster}, ALL)

    assert steps == (PutQueue(faster), DropQueue(BULK_A))
