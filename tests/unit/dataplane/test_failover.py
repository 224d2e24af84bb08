"""The routes of requests that may go again: by which lanes, and on what conditions."""

from typing import Any

from pointsman.dataplane.failover import IDEMPOTENT, by_method, in_turn
from pointsman.model.tunnel import Lane

LANES = tuple(Lane("p", name, number << 20, "pm0", ("10.0.0.1",)) for number, name in enumerate("abc", 2))


def test_each_attempt_has_the_next_lane_and_the_last_one_none_behind_it() -> None:
    route: Any = in_turn(LANES, idempotent=True)
    groups = route["inline_cluster_specifier_plugin"]["extension"]["typed_config"]["priority_groups"]

    assert [[one["cluster_name"] for one in group["clusters"]] for group in groups] == [["p@a"], ["p@b"], ["p@c"]]
    assert route["retry_policy"]["num_retries"] == 2
    assert route["retry_policy"]["refresh_cluster_on_retry"] is True


def test_only_what_is_idempotent_goes_again_after_it_was_sent() -> None:
    conditions = [
        set(str(route["retry_policy"]["retry_on"]).split(","))  # type: ignore[index, call-overload]
        for route in (in_turn(LANES, idempotent=True), in_turn(LANES, idempotent=False))
    ]
    assert conditions[0] - conditions[1] == {"reset"}
    assert conditions[1] == {"connect-failure", "refused-stream", "reset-before-request"}


def test_the_method_decides_and_what_is_not_listed_is_not_idempotent() -> None:
    found: Any = by_method({"name": "twice"}, {"name": "once"})
    table = found["matcher"]["matcher_tree"]["exact_match_map"]["map"]

    assert set(table) == set(IDEMPOTENT) == {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}
    assert {one["name"] for one in table.values()} == {"twice"}
    assert found["matcher"]["on_no_match"] == {"name": "once"}
