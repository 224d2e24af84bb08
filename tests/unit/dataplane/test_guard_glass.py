"""The broken glass in the guard's text: what it opens, for how long, and that nothing else differs."""

import re

import pytest

from pointsman.dataplane.capture import compile_capture
from pointsman.dataplane.entries import plan
from pointsman.dataplane.guard import GuardSpec, State, guard_text
from pointsman.model.diagram import Leaf
from pointsman.model.entry import Mode
from pointsman.model.tunnel import Lane

LANE = Lane("gold", "wg-a", 0x00200000, "pm0a", ("10.71.0.2",))
ENTRIES = plan([], [LANE.cluster], [Mode.HTTP])


def text(state: State = State.OPEN, glass: int = 0, framed: tuple[str, ...] = ("eth0", "pm0a")) -> str:
    capture = compile_capture([(Mode.HTTP, ((80, 80),))], ENTRIES, (), lambda _: Leaf(0), lambda _: "")
    spec = GuardSpec(64001, 64002, state, uplinks=("eth0",), framed=framed, lanes=(LANE,), capture=capture, glass=glass)
    return guard_text(spec)


def chain(name: str, of: str) -> list[str]:
    """The rules of a chain, without its first line of type and policy."""
    found = re.search(rf"  chain {name} {{\n(.*?)  }}\n", of, re.DOTALL)
    assert found is not None, name
    return [line.strip() for line in found[1].splitlines() if not line.strip().startswith("type ")]


@pytest.mark.parametrize("state", list(State))
def test_without_a_broken_glass_nothing_speaks_of_it(state: State) -> None:
    assert "glass" not in text(state)


@pytest.mark.parametrize("state", list(State))
def test_the_broken_glass_adds_openings_and_changes_nothing_else(state: State) -> None:
    broken = re.sub(r"  set glass {\n.*?  }\n", "", text(state, 600), flags=re.DOTALL)

    assert "".join(line for line in broken.splitlines(True) if "glass" not in line) == text(state)


def test_the_kernel_ends_it_by_itself() -> None:
    """The openings hold for what is in the sets, and the sets forget; chains drop by default all the while."""
    sets = re.findall(r"set glass {\n(.*?)  }\n", text(glass=600), re.DOTALL)

    assert [" ".join(found.split()) for found in sets] == [
        "typeof meta nfproto flags timeout elements = { ipv4 timeout 600s, ipv6 timeout 600s }",
        'type ifname flags timeout elements = { "eth0" timeout 600s, "pm0a" timeout 600s }',
    ]
    assert text(glass=600).count("policy drop;") == text().count("policy drop;") == 4


def test_connections_are_not_captured_while_it_is_broken() -> None:
    rules = chain("choose", text(glass=600))
    cleared = next(place for place, rule in enumerate(rules) if rule.endswith("meta priority set 0:0"))

    assert cleared < rules.index("meta nfproto @glass return") < rules.index("meta skuid >= 0 goto captured")


def test_the_proxy_keeps_to_its_lanes_while_it_is_broken() -> None:
    final = chain("final", text(glass=600))

    assert final.index("meta skuid 64001 goto of_proxy") < final.index("meta nfproto @glass accept")
    assert "glass" not in "".join(chain("of_proxy", text(glass=600)))


def test_forged_marks_and_packets_from_tunnels_are_held_while_it_is_broken() -> None:
    for name in ("strip", "arriving", "inbound"):
        assert chain(name, text(glass=600)) == chain(name, text())


def test_a_host_without_devices_to_watch_has_no_frames_to_open() -> None:
    assert text(glass=600, framed=()).count("set glass") == 1
