import json
from dataclasses import replace
from pathlib import Path

import pytest

from pointsman.model.fault import Fault
from pointsman.node.balance import Balance, Judgement
from pointsman.node.evidence import Interval, interval, keep, recall, sum_up
from pointsman.node.proof import Finding, Reason
from pointsman.node.records import Tally

LANES = {"vault@a": {"proven": 3, "by_source": 1, "unknown": 0, "open": 2}}
TUNNELS = {"a": {"packets": 9, "guard": 900, "sent": 1200, "judgement": "right", "why": ""}}
ONE = Interval(1000.0, 1006.0, "v1", LANES, TUNNELS, refused=2)
TWO = replace(ONE, since=1006.0, until=1012.0, policy="v2", running=4)
FOUND = {"reason": "device", "decided": "vault@a", "observed": "eth0"}


def test_what_is_kept_is_recalled_from_the_time_that_is_asked_for(tmp_path: Path) -> None:
    for one in (ONE, TWO):
        keep(tmp_path / "evidence", one)

    assert recall(tmp_path / "evidence", 0.0) == ([ONE, TWO], 0)
    assert recall(tmp_path / "evidence", 1006.0) == ([TWO], 0)
    assert recall(tmp_path / "none", 0.0) == ([], 0)
    assert (tmp_path / "evidence").stat().st_mode & 0o777 == 0o600


def test_evidence_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(Fault, match=r"write `.*/gone/evidence`"):
        keep(tmp_path / "gone" / "evidence", ONE)


def test_a_range_may_begin_in_a_file_that_was_moved_aside(tmp_path: Path) -> None:
    keep(tmp_path / "evidence.1", ONE)
    keep(tmp_path / "evidence", TWO)

    assert recall(tmp_path / "evidence", 0.0) == ([ONE, TWO], 0)


def test_a_range_that_is_covered_and_right_is_right_and_sums_up() -> None:
    found = sum_up([ONE, TWO], 1001.0, 1015.0)

    assert found == {
        "judgement": "right",
        "since": 1001.0,
        "until": 1012.0,
        "policies": ["v1", "v2"],
        "lanes": {"vault@a": {"proven": 6, "by_source": 2, "unknown": 0, "open": 2}},
        "tunnels": {"a": {"packets": 18, "guard": 1800, "sent": 2400, "wrong": 0, "unknown": 0}},
        "drops": {},
        "misrouted": {},
        "findings": [],
        "unknown": [],
        "refused": 4,
        "ended": 0,
        "running": 4,
    }


@pytest.mark.parametrize(
    ("lines", "since", "until", "unknown"),
    [
        ([], 1000.0, 1060.0, "nobody looked for 60 s from 1970-01-01T00:16:40Z"),
        ([ONE], 900.0, 1006.0, "nobody looked for 100 s from 1970-01-01T00:15:00Z"),
        ([ONE], 1000.0, 1040.0, "nobody looked for 34 s from 1970-01-01T00:16:46Z"),
        ([ONE, replace(TWO, since=1009.5)], 1000.0, 1012.0, "nobody looked for 4 s from 1970-01-01T00:16:46Z"),
        ([replace(ONE, unknown=("the glass was broken",))], 1000.0, 1006.0, "the glass was broken"),
        (
            [replace(ONE, lanes={"x@b": {"proven": 0, "by_source": 0, "unknown": 1, "open": 0}})],
            1000.0,
            1006.0,
            "1 requests through x@b: it is not known what carried them",
        ),
    ],
)
def test_a_range_of_which_something_is_missing_is_unknown(
    lines: list[Interval], since: float, until: float, unknown: str
) -> None:
    found = sum_up(lines, since, until)

    assert (found["judgement"], found["unknown"]) == ("unknown", [unknown])


def test_a_line_that_cannot_be_read_makes_a_range_unknown(tmp_path: Path) -> None:
    keep(tmp_path / "evidence", ONE)
    with (tmp_path / "evidence").open("a") as file:
        file.write('{"since": 1\n' + json.dumps({"other": 1}) + "\n")
    lines, unreadable = recall(tmp_path / "evidence", 0.0)

    assert sum_up(lines, 1000.0, 1006.0, unreadable)["unknown"] == ["2 lines of evidence cannot be read"]


def test_a_misrouting_anywhere_makes_a_range_wrong_even_where_more_is_unknown() -> None:
    wrong = replace(TWO, misrouted={"device": 1}, findings=(FOUND,), drops={"dropped_proxy": 7}, ended=1)
    found = sum_up([ONE, wrong], 900.0, 1012.0)

    assert (found["judgement"], found["misrouted"], found["drops"]) == ("wrong", {"device": 1}, {"dropped_proxy": 7})
    assert (found["findings"], found["ended"]) == ([{"at": 1012.0, **FOUND}], 1)


def test_an_interval_as_it_was_made_is_kept(tmp_path: Path) -> None:
    now = Tally()
    now.misrouted[Reason.LANE], now.proven["x@a"] = 1, 2
    made = interval(1.0, 6.0, "v", (Tally(), now), {}, [], {}, [Finding(Reason.LANE, "x@a", "y@a")], [], 0)
    keep(tmp_path / "evidence", made)

    assert recall(tmp_path / "evidence", 0.0) == ([made], 0)


def test_an_interval_holds_what_was_counted_since_the_one_before() -> None:
    then, now = Tally(), Tally()
    then.proven["x@a"], then.refused = 5, 1
    now.proven["x@a"], now.by_source["y@a"], now.refused, now.misrouted[Reason.LANE] = 7, 1, 4, 1
    now.unreadable = 2
    weighed = [Balance("a", 1, 100, 0, Judgement.UNKNOWN, "it was not up all the time")]
    finding = Finding(Reason.LANE, "x@a", "y@a")

    made = interval(1.0, 6.0, "v", (then, now), {"x@a": 3}, weighed, {"dropped_entry": 1}, [finding], ["late"], 0)

    assert made == Interval(
        1.0,
        6.0,
        "v",
        {
            "x@a": {"proven": 2, "by_source": 0, "unknown": 0, "open": 3},
            "y@a": {"proven": 0, "by_source": 1, "unknown": 0, "open": 0},
        },
        {"a": {"packets": 1, "guard": 100, "sent": 0, "judgement": "unknown", "why": "it was not up all the time"}},
        {"dropped_entry": 1},
        {"lane": 1},
        ({"reason": "lane", "decided": "x@a", "observed": "y@a"},),
        ("late", "a: it was not up all the time", "2 records could not be read"),
        refused=3,
    )
