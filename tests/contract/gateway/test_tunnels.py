"""A gateway as a node sees it: asked over mutual TLS, and spoken through."""

import pytest

from pointsman.gateway.openvpn import connected
from pointsman.gateway.server import Traffic
from pointsman.lab.wait import until
from pointsman.tunnels.drivers import management
from tests.contract.gateway.far_end import ORIGIN, World

KINDS = pytest.mark.parametrize("kind", ["wireguard", "openvpn"])


@KINDS
def test_a_tunnel_that_was_asked_for_carries_both_families(gate: World, kind: str) -> None:
    device = gate.up(gate.grant(kind, "a"))

    for far, seen in zip(ORIGIN, ("198.51.100.21", "2001:db8:2::21"), strict=True):
        with gate.talk(device, far) as talk:
            assert talk.hears().removeprefix("::ffff:") == seen
            assert talk.says("hello") == "hello"
    status, [tunnel] = gate.ask("GET", "/v1/tunnels")
    assert (status, tunnel["id"], tunnel["kind"]) == (200, "a", kind)
    until(lambda: gate.ask("GET", "/v1/tunnels")[1][0]["received"] > 0, "the gateway has counted")


@KINDS
def test_an_open_connection_goes_on_when_the_gateway_is_killed_and_started_again(gate: World, kind: str) -> None:
    device = gate.up(gate.grant(kind, "a"))
    with gate.talk(device, ORIGIN[0]) as v4, gate.talk(device, ORIGIN[1]) as v6:
        assert all(talk.hears() for talk in (v4, v6))

        gate.kill()
        assert [talk.says("while it is dead") for talk in (v4, v6)] == ["while it is dead"] * 2
        gate.start()
        assert [talk.says("and after") for talk in (v4, v6)] == ["and after"] * 2

    assert [tunnel["id"] for tunnel in gate.tunnels()] == ["a"]


def sessions(world: World) -> dict[str, Traffic]:
    """Whom the OpenVPN server has connections with."""
    socket = world.folder / "run/openvpn/work/management"
    return connected(management.converse(socket, (b"status 3\n", b"\nEND\r\n")), 0)


@KINDS
def test_a_deleted_tunnel_carries_nothing_any_more_and_others_do(gate: World, kind: str) -> None:
    first, second = gate.grant(kind, "first"), gate.grant(kind, "second", node="beta")
    device, other = gate.up(first), gate.up(second, "other")
    with gate.talk(device, ORIGIN[0], patience=1) as talk, gate.talk(other, ORIGIN[0], "other") as kept:
        assert talk.hears()
        assert kept.hears()
        assert set(gate.tracked()) in ({"10.71.0.2", "10.71.0.3"}, {"10.73.0.2", "10.73.0.3"})

        assert gate.ask("DELETE", "/v1/tunnels/first") == (204, None)
        assert set(gate.tracked()) in ({"10.71.0.3"}, {"10.73.0.3"})
        assert len(sessions(gate)) == (1 if kind == "openvpn" else 0)
        assert talk.says("still there?") == "TimeoutError"
        assert kept.says("still there?") == "still there?"
    assert gate.ask("DELETE", "/v1/tunnels/first") == (204, None)
    assert [tunnel["id"] for tunnel in gate.tunnels()] == ["second"]
