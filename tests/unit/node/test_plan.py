"""The plan of one turn, from a policy and tunnels that are plain values."""

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import yaml

from pointsman.dataplane.envoy import Settings
from pointsman.dataplane.guard import State as Guard
from pointsman.dataplane.guard import guard_text
from pointsman.model.entry import Mode
from pointsman.model.profile import Level, OnFailure, Selector
from pointsman.model.tunnel import Endpoint, Entry, Kind, Lane, Lease, State, Tunnel
from pointsman.node.config import Node, load_node
from pointsman.node.guards import closed_guard
from pointsman.node.holdings import Holdings
from pointsman.node.memory import Memory
from pointsman.node.plan import Plan, make_plan, plain_ports
from pointsman.node.trees import Trees, compile_trees
from pointsman.policy.load import load_policy
from pointsman.tunnels.port import link_name

FOLDER = Path(__file__).parents[2] / "lab"
SETTINGS = Settings(folder="/f", state="/s", access_log="/l", node="n")


def tunnel(name: str, kind: Kind, level: Level, number: int, **labels: str) -> Tunnel:
    return Tunnel(
        name=name,
        kind=kind,
        level=level,
        labels=tuple(labels.items()),
        state=State.UP,
        device="eth0" if kind is Kind.DIRECT else f"pm{name}",
        sources=(f"10.7{number}.0.2", f"fd7{number}::2"),
        endpoints=() if kind is Kind.DIRECT else (Endpoint(f"192.0.2.2{number}", 51820, "udp"),),
        table=254 if kind is Kind.DIRECT else 7100 + number,
        mtu=1420,
    )


A = tunnel("wg-a", Kind.WIREGUARD, Level.STRONG, 1, purpose="vault")
B = tunnel("wg-b", Kind.WIREGUARD, Level.STRONG, 2, purpose="vault")
C = tunnel("ovpn-c", Kind.OPENVPN, Level.ENCRYPTED, 3, purpose="payments")
D = tunnel("direct", Kind.DIRECT, Level.NONE, 0, purpose="plain")
ALL = (A, B, C, D)


@cache
def trees() -> Trees:
    keys = Path(__file__).parents[3] / "examples" / "keys.json"
    policy = load_policy((FOLDER / "steering.yaml").read_bytes(), "steering.yaml", lambda _: keys.read_bytes())
    return compile_trees(policy, node())


@cache
def node() -> Node:
    document = {
        "apiVersion": "pointsman/v1",
        "kind": "Node",
        "policy": "policy.yaml",
        "users": {"proxy": 64001, "tunnels": 64002, "exempt": [64003]},
        "uplinks": ["eth0"],
        "capture": {"http": [80, 8080], "auto": [7000]},
        "inbound": [22],
        "tunnels": [{"name": "direct", "kind": "direct", "level": "none", "device": "eth0"}],
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "node.yaml"
        file.write_text(yaml.safe_dump(document))
        return load_node(file)


def plan(*tunnels: Tunnel, memory: Memory | None = None, draining: tuple[Lane, ...] = ()) -> Plan:
    return make_plan(node(), trees(), tunnels, memory or Memory(), SETTINGS, draining)


def test_every_profile_has_the_lane_of_its_tunnel() -> None:
    found = plan(*ALL)

    assert {name: way.tunnel for name, way in found.ways.items() if isinstance(way, Lane)} == {
        "vault": "wg-a",
        "archive": "wg-b",
        "payments": "ovpn-c",
        "plain": "direct",
    }
    assert len({lane.mark for lane in found.lanes}) == len(found.lanes) == 4
    assert found.guard.state is Guard.OPEN
    assert set(found.guard.lanes) == set(found.lanes)


def test_a_tunnel_that_is_not_up_has_no_lane_and_the_reason_names_nothing_of_ours() -> None:
    found = plan(replace(A, state=State.FAILED, why="secret gateway 192.0.2.21"), B, C, D)

    assert found.ways["vault"] == "its tunnel is not up"
    assert "vault" not in {lane.profile for lane in found.lanes}


def test_a_tunnel_that_is_not_there_has_no_lane() -> None:
    assert plan(B, C, D).ways["vault"] == "no tunnel fits it"


def test_the_outer_packets_of_a_tunnel_are_freed_before_it_is_up() -> None:
    found = plan(replace(A, state=State.PROVISIONING, sources=()), B, C, D)

    assert "192.0.2.21" in {outer.address for outer in found.guard.endpoints}


def test_a_plan_made_again_is_the_same() -> None:
    first = plan(*ALL)
    again = plan(*ALL, memory=first.memory)

    assert (again.lanes, again.guard, again.routing, again.memory) == (
        first.lanes,
        first.guard,
        first.routing,
        first.memory,
    )
    assert again.envoy == first.envoy


def test_numbers_are_kept_while_tunnels_come_and_go() -> None:
    first = plan(*ALL)
    without = plan(B, C, D, memory=first.memory)
    again = plan(*ALL, memory=without.memory)

    assert again.lanes == first.lanes
    assert again.guard.capture == first.guard.capture


def test_tunnels_that_come_and_go_change_no_listener() -> None:
    first, without = plan(*ALL), plan(D)

    assert first.envoy.listeners.version == without.envoy.listeners.version
    assert first.envoy.routes.version != without.envoy.routes.version


def test_a_lane_that_drains_stays_as_long_as_its_tunnel_stands() -> None:
    old = Lane("older", "wg-b", 0x0FF00000, B.device, B.sources)

    assert old in plan(*ALL, draining=(old,)).lanes
    assert old not in plan(A, C, D, draining=(old,)).lanes
    assert old not in plan(A, replace(B, device="pmother"), C, D, draining=(old,)).lanes


def test_lanes_of_the_next_tunnels_stand_ready_and_requests_go_there_in_turn() -> None:
    policy = trees().policy
    profiles = tuple(
        replace(p, on_failure=OnFailure.NEXT, selector=Selector(), dedicated=False) if p.name == "archive" else p
        for p in policy.profiles
    )
    changed = compile_trees(replace(policy, profiles=profiles), node())
    found = make_plan(node(), changed, ALL, Memory(stays={"archive": "wg-b"}), SETTINGS)
    lanes = {lane.cluster: lane for lane in found.lanes}

    assert found.ways["archive"] == lanes["archive@wg-b"]
    assert [name for name in lanes if name.startswith("archive@")] == ["archive@wg-b"]  # wg-a is another's
    free = make_plan(node(), changed, (replace(A, name="wg-d", table=7105), *ALL), Memory(), SETTINGS)
    ready = {lane for lane in free.lanes if lane.profile == "archive"}
    assert {lane.tunnel for lane in ready} == {"wg-b", "wg-d"}
    assert ready <= free.wanted
    assert len(ready & free.first) == 1
    assert ready <= set(free.guard.lanes)


def test_a_dedicated_tunnel_stays_with_its_holder_while_it_is_down() -> None:
    first = plan(*ALL)
    down = plan(replace(A, state=State.PLANNED), B, C, D, memory=first.memory)

    assert first.memory.leases == down.memory.leases == (Lease("wg-a", "vault"),)


def test_every_user_that_a_rule_names_has_entries_of_its_own() -> None:
    entries = plan(*ALL).memory.entries

    assert {entry.uid for entry in entries} == {None, 1000}
    assert {entry.mode for entry in entries} == {Mode.HTTP, Mode.AUTO, Mode.TCP}


def test_tunnels_made_for_holders_have_no_entries_of_the_profiles_of_the_pool() -> None:
    made = tuple(replace(C, name=f"gw-{number}", table=7200 + number) for number in range(120))
    holdings = Holdings(gateways={one.name: "gw" for one in made})

    found = make_plan(node(), trees(), (*ALL, *made), Memory(), SETTINGS, holdings=holdings)

    assert found.memory.entries == plan(*ALL).memory.entries
    assert found.envoy.listeners == plan(*ALL).envoy.listeners


def test_observed_only_http_is_captured_and_nothing_is_held() -> None:
    found = plan(*ALL, memory=Memory(observe=True))

    assert (found.guard.state, found.guard.held) == (Guard.OBSERVE, "accept")
    text = guard_text(found.guard)
    assert "tcp dport { 80, 8080 } meta priority set" in text
    assert "tcp dport 7000" not in text


def test_the_closed_guard_knows_no_lane_and_no_way_out_but_those_of_the_node_file() -> None:
    found = closed_guard(node())

    assert (found.state, found.lanes, found.endpoints, found.resolvers) == (Guard.CLOSED, (), (), ())
    assert (found.exempt_uids, found.uplinks, [one.ports for one in found.inbound]) == (
        frozenset({64003}),
        ("eth0",),
        [((22, 22),)],
    )


@pytest.mark.parametrize(
    ("http", "auto", "rest"),
    [
        ((), (), ((1, 65535),)),
        (((80, 80),), ((7000, 7000),), ((1, 79), (81, 6999), (7001, 65535))),
        (((1, 1), (65535, 65535)), (), ((2, 65534),)),
        (((80, 80), (81, 81)), (), ((1, 79), (82, 65535))),
    ],
)
def test_every_port_is_captured_in_one_way(
    http: tuple[tuple[int, int], ...], auto: tuple[tuple[int, int], ...], rest: tuple[tuple[int, int], ...]
) -> None:
    assert plain_ports(replace(node(), http=http, auto=auto)) == rest


def test_a_tunnel_that_no_profile_uses_is_shut_as_well() -> None:
    spare = replace(B, name="spare", device="pmspare", labels=(), sources=("10.79.0.2",))
    guard = make_plan(node(), trees(), (*ALL, spare), Memory(), SETTINGS).guard

    assert not any(lane.tunnel == "spare" for lane in guard.lanes)
    assert "pmspare" in guard.tunnels
    assert ("10.79.0.2", "pmspare") in guard.inner


def test_the_closed_guard_shuts_the_tunnels_that_an_earlier_agent_left() -> None:
    host = replace(node(), entries=(Entry("wg-a", Kind.WIREGUARD, Level.STRONG), Entry("d", Kind.DIRECT, Level.NONE)))
    device = link_name(str(host.runtime), "wg-a")

    assert closed_guard(host).tunnels == (device,)
    assert f'elements = {{ "{device}" }}' in guard_text(closed_guard(host))


def test_lanes_have_queues_where_the_rate_of_their_tunnel_is_known() -> None:
    found = plan(replace(A, rate=80_000_000), B, C, D)

    assert {part.device for part in found.queues} == found.guard.queued == {"pmwg-a"}
    assert plan(*ALL).queues == frozenset()


def test_outer_packets_say_what_the_only_holder_s_profile_says_else_what_the_tunnel_s_entry_does() -> None:
    policy = trees().policy
    profiles = tuple(replace(p, dscp_outer=p.name in ("vault", "archive")) for p in policy.profiles)
    told = replace(trees(), compiled=replace(trees().compiled, policy=replace(policy, profiles=profiles)))
    tunnels = (replace(A, port=1, outer_dscp=1), replace(B, port=2, outer_dscp=1), replace(C, outer_dscp=1), D)

    found = make_plan(node(), told, tunnels, Memory(), SETTINGS)

    assert found.guard.outer_dscp == ((1, 18), (2, 1))  # `vault` alone holds its tunnel
