import json

from pointsman.lab.attacks.dumps import difference, named
from pointsman.model.routing import MASK


def dump(direct: int, tunnel: int) -> dict[str, tuple[str, ...]]:
    """Return what a host with two lanes says of itself, these their numbers."""
    marks = {direct << 20: "eth0", tunnel << 20: "pma"}
    rules = [{"fwmark": f"{direct << 20:#x}", "priority": 9000 + direct, "table": "main"}]
    rules += [{"fwmark": f"{tunnel << 20:#x}", "priority": 9000 + tunnel, "table": "7100"}]
    kept = {
        device: {"mangle": {"value": {"|": [{"&": [{"ct": {"key": "mark"}}, mark | MASK ^ 0xFFFFFFFF]}, mark]}}}
        for mark, device in marks.items()
    }
    ruleset = [
        {"rule": {"chain": "apart", "expr": [{"match": {"right": {"set": sorted(marks)}}}]}},
        *({"rule": {"chain": f"lane_{mark:08x}", "expr": [kept[device]]}} for mark, device in marks.items()),
    ]
    return {
        "rules": tuple(map(json.dumps, rules)),
        "routes": (json.dumps({"table": "7100", "dev": "pma"}),),
        "ruleset": tuple(map(json.dumps, ruleset)),
    }


def test_the_same_lanes_with_other_numbers_are_the_same() -> None:
    assert difference(named(dump(2, 3)), named(dump(3, 2))) == ""
    assert difference(dump(2, 3), dump(3, 2)) != ""


def test_another_lane_is_a_difference() -> None:
    other = dump(2, 3)
    other["ruleset"] = tuple(line.replace("lane_00300000", "lane_00200000") for line in other["ruleset"])

    assert "lane_<pma>" in difference(named(dump(2, 3)), named(other))
