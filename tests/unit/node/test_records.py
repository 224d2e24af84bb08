import json
import os
from pathlib import Path

import pytest

from pointsman.model.tunnel import Lane
from pointsman.node.proof import Finding, Reason
from pointsman.node.records import Decided, Follower, Tally, decided, host_of, parse, rotate

OLD, NEW = ("10.71.0.2:4711", "192.0.2.9:80"), ("10.71.0.2:4712", "192.0.2.9:80")
DECIDED = Decided(
    {"vault@a": frozenset({"10.71.0.2", "fd71::2"}), "archive@a": frozenset({"10.71.0.2"})},
    {
        OLD: frozenset({"vault@a"}),
        NEW: frozenset({"archive@a"}),
        ("10.71.0.2:4713", "192.0.2.9:80"): frozenset(),
        ("10.71.0.2:4714", "192.0.2.9:80"): frozenset({"archive@a", "vault@a"}),
    },
)


def record(**more: object) -> dict[str, object]:
    return {"rule": "r", "code": 200, "lane": "vault@a", "source": OLD[0], "destination": OLD[1], **more}


@pytest.mark.parametrize(
    ("seen", "counted"),
    [
        (record(), "proven"),
        (record(source="10.71.0.2:4714"), "proven"),  # the port was used for another lane just before
        (record(source="10.71.0.2:9"), "by_source"),
        (record(source="[fd71::2]:4711"), "by_source"),
        (record(source=None, code=503), "refused"),
        (record(lane=None, source=None, code=403), "refused"),
        (record(lane="gone@b", source="10.9.9.9:1"), "unknown"),
    ],
)
def test_a_request_is_counted_by_how_its_way_is_known(seen: dict[str, object], counted: str) -> None:
    tally = Tally()

    assert tally.add(seen, DECIDED) is None
    shown = {
        "proven": tally.proven.total(),
        "by_source": tally.by_source.total(),
        "unknown": tally.unknown.total(),
        "refused": tally.refused,
    }
    assert shown == {**dict.fromkeys(shown, 0), counted: 1}


def test_an_address_that_two_tunnels_have_proves_no_way() -> None:
    lanes = [Lane("vault", "a", 1, "pma", ("10.0.0.2",)), Lane("vault", "b", 2, "pmb", ("10.0.0.2", "fd71::2"))]
    on_one = Lane("archive", "b", 3, "pmb", ("fd71::2",))
    tally = Tally()

    tally.add(record(source="10.0.0.2:9"), decided(lanes, {}))
    tally.add(record(lane="vault@b", source="[fd71::2]:9"), decided([*lanes, on_one], {}))

    assert (tally.unknown, tally.by_source) == ({"vault@a": 1}, {"vault@b": 1})
    assert tally.add(record(source="10.0.0.3:9"), decided(lanes, {})) is not None


@pytest.mark.parametrize(
    ("source", "finding"),
    [
        ("192.0.2.10:4711", Finding(Reason.SOURCE, "vault@a: source 10.71.0.2 or fd71::2", "192.0.2.10:4711")),
        (
            NEW[0],
            Finding(Reason.LANE, "vault@a", "10.71.0.2:4712 to 192.0.2.9:80, which the kernel shows as archive@a"),
        ),
        (
            "10.71.0.2:4713",
            Finding(Reason.LANE, "vault@a", "10.71.0.2:4713 to 192.0.2.9:80, which the kernel shows as no lane"),
        ),
    ],
)
def test_a_request_that_left_another_way_is_found_with_both_sides(source: str, finding: Finding) -> None:
    assert Tally().add(record(source=source), DECIDED) == finding


def test_requests_are_counted_by_rule_profile_tunnel_and_code() -> None:
    tally = Tally()
    for seen in (record(), record(), record(code=None, rule=None), record(lane=None, source=None, code=403)):
        tally.add(seen, Decided({}, {}))

    assert tally.requests == {
        ("r", "vault", "a", "200"): 2,
        ("", "vault", "a", "0"): 1,
        ("r", "", "", "403"): 1,
    }


def test_lines_that_are_no_records_are_none() -> None:
    assert [parse(line) for line in (b"", b"[]", b"7", b"{", b"[" * 100_000, b"\xff", b'{"a": 1}')] == [None] * 6 + [
        {"a": 1}
    ]


@pytest.mark.parametrize(("point", "host"), [("1.2.3.4:5", "1.2.3.4"), ("[::1]:5", "::1"), ("", "")])
def test_the_host_of_a_point(point: str, host: str) -> None:
    assert host_of(point) == host


def test_a_follower_yields_whole_lines_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    follower = Follower(path)
    assert list(follower.lines()) == []  # not there yet

    with path.open("ab", buffering=0) as file:
        file.write(b"one\ntw")
        assert list(follower.lines()) == [b"one"]
        file.write(b"o\n\nthree\n")
        assert list(follower.lines()) == [b"two", b"three"]
        assert list(follower.lines()) == []


def test_a_follower_that_skips_begins_with_what_comes(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"old\n")
    follower = Follower(path)
    follower.skip()

    with path.open("ab") as file:
        file.write(b"new\n")

    assert list(follower.lines()) == [b"new"]


def test_a_follower_loses_nothing_across_rotations(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.touch()
    follower = Follower(path)
    seen: list[bytes] = []
    written = []
    writer = path.open("ab", buffering=0)
    for number in range(100):
        line = json.dumps({"number": number}).encode()
        written.append(line)
        writer.write(line + b"\n")
        if number % 7 == 0:
            seen += follower.lines()
        if number % 10 == 0:
            seen += follower.lines()
            assert rotate(path, largest=1)
            writer.write(b'"late"\n')  # the writer has not opened the new file yet
            written.append(b'"late"')
            writer.close()
            writer = path.open("ab", buffering=0)
    writer.close()
    seen += follower.lines()

    assert seen == written


def test_a_rotation_bounds_how_much_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for number in range(9):
        path.write_text(f"{number}" * 10)
        assert rotate(path, largest=10, kept=4)

    assert {p.name: p.read_text()[0] for p in tmp_path.iterdir()} == {"log.1": "8", "log.2": "7", "log.3": "6"}


def test_a_small_file_and_none_stay_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("x")

    assert (rotate(tmp_path / "log", largest=2), rotate(tmp_path / "none")) == (False, False)
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_neither_a_link_nor_a_pipe_is_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text('{"rule": "r"}\n')
    (tmp_path / "link").symlink_to(tmp_path / "other")
    os.mkfifo(tmp_path / "pipe")

    assert [list(Follower(tmp_path / name).lines()) for name in ("link", "pipe")] == [[], []]
    assert list(Follower(tmp_path / "other").lines()) == [b'{"rule": "r"}']
