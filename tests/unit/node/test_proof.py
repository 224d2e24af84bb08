import pytest

from pointsman.model.connection import Connection
from pointsman.model.tunnel import Lane
from pointsman.node.proof import Finding, Old, Reason, Right, Wrong, carrying, detour, escaped, judge

VAULT = Lane("vault", "a", 0x00200000, "pma", ("10.71.0.2", "fd71::2"))
ARCHIVE = Lane("archive", "a", 0x00300000, "pma", ("10.71.0.2", "fd71::2"))
PLAIN = Lane("plain", "direct", 0x00400000, "eth0", ("192.0.2.10",))
LANES = (VAULT, ARCHIVE, PLAIN)
OF_VAULT = "vault@a: mark 0x00200000, device pma, source 10.71.0.2 or fd71::2"
OF_ARCHIVE = "archive@a: mark 0x00300000, device pma, source 10.71.0.2 or fd71::2"


def socket(mark: int = VAULT.mark, device: str = "pma", local: str = "10.71.0.2") -> Connection:
    return Connection(local, 4711, "198.51.100.80", 80, 64001, device, mark)


@pytest.mark.parametrize(
    ("seen", "lane"),
    [
        (socket(), "vault@a"),
        (socket(local="fd71::2"), "vault@a"),
        (socket(ARCHIVE.mark), "archive@a"),
        (socket(PLAIN.mark, "eth0", "192.0.2.10"), "plain@direct"),
    ],
)
def test_a_socket_with_mark_device_and_source_of_one_lane_is_that_lanes(seen: Connection, lane: str) -> None:
    assert judge([seen], LANES) == [Right(seen, lane)]


@pytest.mark.parametrize(
    ("seen", "finding"),
    [
        (
            socket(0),
            Finding(
                Reason.MARK,
                f"{OF_VAULT} or {OF_ARCHIVE}",
                "10.71.0.2:4711 to 198.51.100.80:80: mark 0x00000000, device pma",
            ),
        ),
        (
            socket(VAULT.mark | 1),  # the whole mark counts, not our part of it
            Finding(
                Reason.MARK,
                f"{OF_VAULT} or {OF_ARCHIVE}",
                "10.71.0.2:4711 to 198.51.100.80:80: mark 0x00200001, device pma",
            ),
        ),
        (
            socket(0, "", "10.9.9.9"),
            Finding(Reason.MARK, "a lane", "10.9.9.9:4711 to 198.51.100.80:80: mark 0x00000000, device any"),
        ),
        (
            socket(device="eth0"),
            Finding(Reason.DEVICE, OF_VAULT, "10.71.0.2:4711 to 198.51.100.80:80: mark 0x00200000, device eth0"),
        ),
        (
            socket(device=""),
            Finding(Reason.DEVICE, OF_VAULT, "10.71.0.2:4711 to 198.51.100.80:80: mark 0x00200000, device any"),
        ),
        (
            socket(local="192.0.2.10"),
            Finding(Reason.SOURCE, OF_VAULT, "192.0.2.10:4711 to 198.51.100.80:80: mark 0x00200000, device pma"),
        ),
    ],
)
def test_anything_else_is_wrong_and_both_sides_are_named(seen: Connection, finding: Finding) -> None:
    assert judge([seen], LANES) == [Wrong(seen, finding)]


def test_a_socket_of_a_lane_that_is_no_more_is_old_and_not_wrong() -> None:
    assert judge([socket()], (PLAIN,), [VAULT.mark]) == [Old(socket())]


def test_a_socket_of_a_device_that_is_no_more_is_old_and_not_wrong() -> None:
    assert judge([socket(device="#7")], LANES) == [Old(socket(device="#7"))]


APP = Connection("192.0.2.10", 5000, "198.51.100.80", 80, 1000)
DOOR = Connection("127.0.0.1", 20100, "192.0.2.10", 5000, 64001)


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        ((APP, DOOR), []),  # captured: the proxy has the other end
        ((APP,), [APP]),
        ((APP, Connection("127.0.0.1", 8080, "192.0.2.10", 5000, 0)), [APP]),  # no entry of the proxy
        ((Connection("192.0.2.10", 22, "203.0.113.5", 999, 0),), []),  # a declared inbound port
        ((Connection("192.0.2.10", 6000, "192.0.2.53", 53, 1000),), []),  # a declared resolver
        (
            (Connection("192.0.2.10", 6000, "192.0.2.53", 80, 1000),),
            [Connection("192.0.2.10", 6000, "192.0.2.53", 80, 1000)],
        ),
        ((Connection("192.0.2.10", 6000, "198.51.100.80", 80, 64001),), []),  # the proxy itself is judged elsewhere
        ((Connection("127.0.0.1", 6000, "127.0.0.1", 80, 1000),), []),
        ((Connection("::1", 6000, "::1", 80, 1000),), []),
    ],
)
def test_a_users_connection_that_nothing_frees_has_escaped(
    seen: tuple[Connection, ...], found: list[Connection]
) -> None:
    assert escaped(seen, [20100], {64001}, [22], [("192.0.2.53", 53)]) == found


def test_the_lanes_that_carry_something_are_asked_about_with_where_they_go() -> None:
    rights = [Right(socket(), "vault@a"), Right(socket(local="10.71.0.2"), "vault@a"), Right(socket(), "gone@a")]

    assert carrying(rights, LANES) == [(VAULT, "198.51.100.80")]


@pytest.mark.parametrize("way", ["pma", ""])
def test_a_route_by_the_lanes_device_or_none_is_no_detour(way: str) -> None:
    assert detour(VAULT, "198.51.100.80", way) is None


def test_a_route_by_another_device_is_a_detour() -> None:
    assert detour(VAULT, "198.51.100.80", "eth0") == Finding(
        Reason.ROUTE, OF_VAULT, "a packet to 198.51.100.80 with this mark would be routed by eth0"
    )
