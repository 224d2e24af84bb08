import json
from pathlib import Path

from pointsman.model.connection import Connection
from pointsman.node.ledger import FORGOTTEN, Ledger
from pointsman.node.narrowing import Narrowing
from pointsman.node.paths import Paths
from pointsman.node.records import Decided
from pointsman.system.log import Log
from pointsman.tunnels.attempts import DOUBTED, WINDOW, Attempts
from tests.unit.node.test_streams import DENIED, WATCH, compiled, record

NOTHING = Decided({}, {})


def never() -> None:
    raise AssertionError("nothing was moved aside")


def told(paths: Paths, name: str, *records: object) -> None:
    paths.proxy.mkdir(parents=True, exist_ok=True)
    with (paths.proxy / name).open("a") as file:
        file.writelines(json.dumps(one) + "\n" for one in records)


def test_what_runs_is_known_until_its_end_is_on_record(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    ledger = Ledger(paths)
    told(paths, "running.log", record(), record(decision="d2"), record())
    ledger.read(NOTHING, 0.0, never)
    assert [one.key for one in ledger.running] == ["d1", "d2"]

    told(paths, "decisions.log", record(code=200))
    ledger.read(NOTHING, 1.0, never)
    assert [one.key for one in ledger.running] == ["d2"]


def test_what_is_told_no_more_has_ended(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    ledger = Ledger(paths)
    told(paths, "running.log", record())
    ledger.read(NOTHING, 0.0, never)
    ledger.read(NOTHING, FORGOTTEN + 0.1, never)

    assert ledger.running == []


def test_an_attempt_counts_for_its_tunnel_by_what_it_came_to(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    ledger = Ledger(paths)
    told(paths, "attempts.log", {"lane": "vault@a", "failure": None}, {"lane": "vault@b", "failure": None})
    told(paths, "decisions.log", record(lane="vault@b", details="via_upstream"))
    ledger.read(NOTHING, 7.0, never)

    assert ledger.outcomes.attempts == {"a": Attempts((7.0,)), "b": Attempts((7.0,), answered=7.0)}
    ledger.read(NOTHING, 7.0 + WINDOW + DOUBTED + 0.1, never)
    assert ledger.outcomes.attempts == {}


def test_a_stream_through_which_bytes_go_on_coming_counts_for_its_tunnel(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    ledger = Ledger(paths)
    for now, sent in ((1.0, 100), (3.0, 200), (5.0, 200)):
        told(paths, "running.log", record(sent=sent))
        ledger.read(NOTHING, now, never)

    assert ledger.outcomes.attempts == {"a": Attempts(answered=3.0)}


def test_what_an_earlier_agent_has_counted_is_left_out(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    told(paths, "attempts.log", {"lane": "vault@a", "failure": None})
    ledger = Ledger(paths)
    ledger.skip()
    ledger.read(NOTHING, 1.0, never)

    assert ledger.outcomes.attempts == {}


def test_lines_that_tell_nothing_are_counted(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    ledger = Ledger(paths)
    told(paths, "running.log", {"kind": "http"}, 7)
    told(paths, "decisions.log", "text")
    told(paths, "attempts.log", "text")
    ledger.read(NOTHING, 0.0, never)

    assert ledger.tally.unreadable == 4


def test_a_change_of_policy_asks_once_and_names_the_sockets_until_they_are_gone(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    ledger = Ledger(paths)
    told(paths, "running.log", record())
    ledger.read(NOTHING, 0.0, never)
    narrowing = Narrowing(Log(), ledger.tally)
    app = Connection("192.0.2.10", 5000, "198.51.100.80", 80, 1000)
    out = Connection("10.71.0.2", 6000, "198.51.100.80", 80, 64001)
    sockets = {one.points: one for one in (app, out)}

    first = narrowing.due(ledger.running, compiled(WATCH), sockets.get)
    second = [narrowing.due(ledger.running, compiled(DENIED), sockets.get) for _ in range(2)]

    assert (first, second, ledger.tally.ended) == ([], [[app, out]] * 2, 1)


def test_what_began_under_the_policy_in_force_is_not_asked_about(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    ledger = Ledger(paths)
    narrowing = Narrowing(Log(), ledger.tally)
    narrowing.due([], compiled(DENIED), {}.get)
    told(paths, "running.log", record(time="2999-01-01T00:00:00.000Z"))
    ledger.read(NOTHING, 0.0, never)
    narrowing.due(ledger.running, compiled(DENIED), {}.get)

    assert ledger.tally.ended == 0
