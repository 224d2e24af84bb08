import pytest

from pointsman.model.tunnel import Kind
from pointsman.node.doctor import Finding, programs_needed, rules_findings, tables_findings

CLEAN = [
    {"priority": 0, "table": "local"},
    {"priority": 32766, "table": "main"},
    {"priority": 32767, "table": "default"},
    {"priority": 7102, "table": "7101", "fwmark": "0x200000", "fwmask": "0x3ff00000"},
    {"priority": 8124, "table": "7101", "oif": "pma"},
]
OUT = {"family": "ip", "table": "other", "name": "out", "hook": "postrouting"}


def test_a_host_s_own_rules_and_ours_are_in_order() -> None:
    assert rules_findings(CLEAN, CLEAN) == [Finding("foreign rules", "ok", "none that could take our packets")]


def test_a_rule_that_reads_our_mark_bits_is_a_problem_wherever_it_stands() -> None:
    rule = {"priority": 30000, "table": "51820", "fwmark": "0x100000", "fwmask": "0x300000"}

    assert [f.level for f in rules_findings([*CLEAN, rule])] == ["problem"]


def test_a_rule_with_other_mark_bits_behind_ours_is_none() -> None:
    rule = {"priority": 30000, "table": "51820", "fwmark": "0xca6c", "fwmask": "0xffff"}

    assert [f.level for f in rules_findings([*CLEAN, rule])] == ["ok"]


def test_a_mark_without_a_mask_means_all_bits() -> None:
    assert [f.level for f in rules_findings([{"priority": 30000, "table": "9", "fwmark": "0x1"}])] == ["problem"]


def test_a_rule_before_ours_is_a_warning() -> None:
    assert [f.level for f in rules_findings([{"priority": 100, "table": "9"}])] == ["warning"]


def test_every_foreign_rule_is_named() -> None:
    found = rules_findings([{"priority": 100, "table": "8"}], [{"priority": 101, "table": "9"}])

    assert [f.detail.partition(" comes")[0] for f in found] == ["rule 100 (8)", "rule 101 (9)"]


def test_chains_that_translate_or_drop_on_the_way_out_are_warnings() -> None:
    ruleset = [
        {"chain": {**OUT, "type": "nat", "policy": "accept"}},
        {"chain": {**OUT, "type": "filter", "hook": "output", "policy": "drop"}},
        {"chain": {**OUT, "type": "filter", "hook": "input", "policy": "drop"}},
        {"chain": {"family": "ip", "table": "other", "name": "plain"}},
        {"chain": {**OUT, "table": "pointsman", "type": "filter", "policy": "drop"}},
        {"table": {"family": "ip", "name": "other"}},
    ]

    assert [f.level for f in tables_findings(ruleset)] == ["warning", "warning"]


def test_no_foreign_firewall_is_in_order() -> None:
    assert [f.level for f in tables_findings([])] == ["ok"]


@pytest.mark.parametrize(
    ("kinds", "module", "more"),
    [
        ({Kind.DIRECT}, False, set()),
        ({Kind.OPENVPN}, True, {"openvpn"}),
        ({Kind.WIREGUARD}, True, set()),
        ({Kind.DIRECT, Kind.WIREGUARD, Kind.OPENVPN}, False, {"wireguard-go", "openvpn"}),
    ],
)
def test_the_programs_that_the_tunnels_need_are_asked_for(kinds: set[Kind], module: bool, more: set[str]) -> None:
    assert programs_needed(kinds, module).keys() == {"nft", "setpriv", "ip"} | more
