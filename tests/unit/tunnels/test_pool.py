import pytest

from pointsman.model.fault import Fault
from pointsman.model.problem import Invalid, Place
from pointsman.model.profile import Level
from pointsman.model.tunnel import Entry, Kind
from pointsman.tunnels.pool import load_pool
from pointsman.tunnels.port import DirectSpec
from tests.unit.tunnels.samples import OPENVPN, WIREGUARD

FILES = {"wg.conf": WIREGUARD, "c.ovpn": OPENVPN, "bad.conf": "[Interface]\nPostUp = x\n"}
HERE = Place("node.yaml", 3, 1)


def read(name: str) -> str:
    if name not in FILES:
        raise Fault("file", f"read `{name}`", "No such file or directory")
    return FILES[name]


def found(*entries: Entry) -> list[tuple[str, str]]:
    with pytest.raises(Invalid) as caught:
        load_pool([(entry, HERE) for entry in entries], read)
    return [(problem.label, str(problem.place)) for problem in caught.value.problems]


def test_a_pool_holds_a_spec_for_every_entry() -> None:
    entries = (
        Entry("wg", Kind.WIREGUARD, Level.STRONG, file="wg.conf"),
        Entry("vpn", Kind.OPENVPN, Level.ENCRYPTED, file="c.ovpn"),
        Entry("direct", Kind.DIRECT, Level.NONE, device="eth0"),
    )
    pool = load_pool([(entry, HERE) for entry in entries], read)

    assert tuple(supply.entry for supply in pool.supplies) == entries
    assert pool.supplies[-1].spec == DirectSpec("eth0")


def test_a_level_above_what_the_file_gives_is_refused_and_below_it_is_not() -> None:
    assert found(Entry("wg", Kind.WIREGUARD, Level.QUANTUM, file="wg.conf")) == [("pool-level", "node.yaml:3:1")]
    assert found(Entry("vpn", Kind.OPENVPN, Level.STRONG, file="c.ovpn")) == [("pool-level", "node.yaml:3:1")]
    assert found(Entry("d", Kind.DIRECT, Level.ENCRYPTED, device="eth0")) == [("pool-level", "node.yaml:3:1")]
    assert load_pool([(Entry("wg", Kind.WIREGUARD, Level.NONE, file="wg.conf"), HERE)], read).notes == ()


def test_every_problem_of_every_file_is_told_at_once() -> None:
    labels = found(
        Entry("a", Kind.WIREGUARD, Level.NONE, file="missing.conf"),
        Entry("b", Kind.WIREGUARD, Level.NONE, file="bad.conf"),
        Entry("c", Kind.DIRECT, Level.STRONG, device="eth0"),
    )

    assert sorted({label for label, _ in labels}) == ["pool-file", "pool-level", "wg-hook", "wg-missing", "wg-section"]
    assert ("pool-file", "node.yaml:3:1") in labels
    assert ("wg-hook", "bad.conf:2:1") in labels


def test_a_supply_knows_where_its_file_says_what_it_takes() -> None:
    entries = (
        Entry("wg", Kind.WIREGUARD, Level.STRONG, file="wg.conf"),
        Entry("vpn", Kind.OPENVPN, Level.ENCRYPTED, file="c.ovpn"),
    )

    pool = load_pool([(entry, HERE) for entry in entries], read)

    assert [supply.allowed for supply in pool.supplies] == [Place("wg.conf", 7, 1), Place()]
