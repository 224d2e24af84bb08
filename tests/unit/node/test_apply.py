"""What the host remembers of the guard that it replaced."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from pointsman.dataplane.nftables import lane_counter
from pointsman.node import apply
from pointsman.node.apply import Host
from tests.unit.node.test_plan import ALL, plan


def test_what_a_lane_had_counted_is_read_when_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel: dict[str, tuple[int, int]] = {}
    nft = SimpleNamespace(read_counters=lambda *_: dict(kernel), apply_rules=lambda _: None, list_rules=lambda *_: "")
    monkeypatch.setattr(apply, "nft", nft)
    monkeypatch.setattr(apply, "netlink", SimpleNamespace(observe_links=lambda: ()))
    host = Host.__new__(Host)
    host._guard, host._rules, host._counted = None, "", {}
    guard = plan(*ALL).guard
    first, second, *kept = guard.lanes

    host._put_guard(guard, 0)
    kernel[lane_counter(first)] = (3, 180)
    host._put_guard(replace(guard, lanes=tuple(kept)), 0)

    assert host.counted() == {first: (3, 180), second: None}
    assert host.counted() == {}
