"""The gateway's guard as text, compared with files that a reviewer can read; `POINTSMAN_GOLDEN=write` writes them."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pointsman.gateway import guard
from pointsman.gateway.guard import Bucket, Element
from pointsman.gateway.site import Gateway
from tests.unit.gateway.samples import CAPACITY, SITE, asked, granted

GOLDEN = Path(__file__).parents[2] / "golden"
DEVICES = {"wireguard": "wg0", "openvpn": "tun0"}
ENTRIES = guard.entries(
    granted(asked("a", number=1, bandwidth=8_000_000), asked("b", number=2)).grants.values(), DEVICES
)
ROUTED = replace(SITE, masquerade=False, drops_others=False, capacity=replace(CAPACITY, bandwidth=None))


@pytest.mark.parametrize(("name", "site"), [("masquerade", SITE), ("routed", ROUTED)])
def test_the_guard_is_written_as_the_golden_file_says(name: str, site: Gateway) -> None:
    text = guard.base_text(site, ENTRIES, {"spoofed": (7, 420)})
    file = GOLDEN / f"gateway_{name}.nft"
    if os.environ.get("POINTSMAN_GOLDEN") == "write":
        file.write_text(text)

    assert text == file.read_text()


def test_a_tunnel_comes_with_its_buckets_first_and_goes_with_them_last() -> None:
    one = guard.entries(granted(asked(bandwidth=8_000)).grants.values(), DEVICES)
    put, drop = guard.change_text(one, ()).splitlines(), guard.change_text((), one).splitlines()

    assert [line.split()[1] for line in put] == ["limit"] * 2 + ["element"] * 10
    assert [line.split()[1] for line in drop] == ["element"] * 10 + ["limit"] * 2
    assert (
        "add limit inet pointsman_gateway t10000002_8000_out { rate over 1000 bytes/second burst 131072 bytes ; }"
        in put
    )
    assert 'add element inet pointsman_gateway own4 { "wg0" . 10.71.0.2 }' in put
    assert "delete element inet pointsman_gateway out6 { fd71::2 }" in drop


def test_only_another_value_for_the_same_key_is_in_the_way() -> None:
    own, bulk, other = (
        Element("own4", '"wg0" . 10.71.0.2'),
        Element("class4", "10.71.0.2", "jump bulk"),
        Element("class4", "10.71.0.3", "jump bulk"),
    )
    default = Element("class4", "10.71.0.2", "jump default")

    assert guard.displaced({own, bulk, other, Bucket("t1_8000_in", 8000)}, {own, default, other}) == {bulk}


def test_what_the_kernel_lists_is_understood_as_the_entries_that_were_put() -> None:
    items = [
        {"metainfo": {"version": "1.0.6"}},
        {"limit": {"name": "total_out", "rate": 1}},
        {"limit": {"name": "rest_in", "rate": 1}},
        {"limit": {"name": "t10000002_8000_out", "rate": 1000}},
        {"set": {"name": "own4", "elem": [{"concat": ["wg0", "10.71.0.2"]}]}},
        {"set": {"name": "own6"}},
        {"map": {"name": "number4", "elem": [["10.71.0.2", 0x10000002]]}},
        {"map": {"name": "class4", "elem": [["10.71.0.2", {"jump": {"target": "bulk"}}]]}},
        {"map": {"name": "out4", "elem": [["10.71.0.2", "t10000002_8000_out"]]}},
        {"set": {"name": "opened4", "elem": [{"elem": {"val": "10.71.0.2", "ct count": {"val": 5, "inv": True}}}]}},
        {"rule": {"chain": "hide", "handle": 7, "expr": [{"masquerade": None}]}},
    ]
    found = guard.understand(items)

    assert found.entries == {
        Bucket("t10000002_8000_out", 8000),
        Element("own4", '"wg0" . 10.71.0.2'),
        Element("number4", "10.71.0.2", "0x10000002"),
        Element("class4", "10.71.0.2", "jump bulk"),
        Element("out4", "10.71.0.2", "t10000002_8000_out"),
    }
    assert found.rules == '["hide", [{"masquerade": null}]]'
    assert guard.numbers(found.entries) == {0x10000002}
