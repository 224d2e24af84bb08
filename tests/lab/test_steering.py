"""Each request leaves through the tunnel that its context asks for, whatever its protocol and connection."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pointsman.lab import clients, instance, world
from pointsman.lab import exec as on
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.lab.watch import Witness
from tests.lab.steered import PATIENCE, POLICY, SHARED, Steered, seen_in_clear, steering

FAMILIES = pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
GRPC_UNAVAILABLE = 14


@pytest.fixture(scope="module")
def host(lab: Lab, witness: Witness) -> Iterator[Steered]:
    with steering(lab, POLICY) as made:
        assert seen_in_clear(made, witness, "http1", "http2", "grpc", "websocket") == 4
        yield made


def asks(host: Steered, witness: Witness) -> list[tuple[str, str, list[tuple[str, str]], str]]:
    """Four requests and the tunnel that each must take. The canary is in those that must not be seen."""
    secret = witness.secret
    admin, clerk = host.token(sub="ada", role="admin"), host.token(sub="bob", role="clerk")
    return [
        ("records.example", "/patients/7", [admin, secret], "wg-a"),
        ("public.example", "/news", [], "direct"),
        ("records.example", "/patients/8", [clerk, secret], "wg-b"),
        ("pay.example", "/charge", [clerk, secret], "ovpn-c"),
        ("records.example", "/patients/7", [admin, secret], "wg-a"),
    ]


@FAMILIES
@pytest.mark.parametrize("kind", ["http1", "http2"])
def test_requests_on_one_connection_take_different_tunnels(
    host: Steered, witness: Witness, kind: str, family: int
) -> None:
    wanted = asks(host, witness)

    with clients.connected(host.lab, SHARED[family], 80, kind) as client:
        answers = [client.ask(path, host=name, headers=headers) for name, path, headers, _ in wanted]

    assert [(a.status, a.error) for a in answers] == [(200, "")] * len(wanted)
    assert [a.json()["source"] for a in answers] == [world.seen_as(tunnel)[family] for *_, tunnel in wanted]
    assert [a.json()["path"] for a in answers] == [path for _, path, *_ in wanted]


_STREAMS = """
import encodings.idna, json, os, socket, sys, h2.events
from pointsman.lab import client
address, asks = sys.argv[1], json.load(sys.stdin)
os.setgroups([]); os.setresgid(1000, 1000, 1000); os.setresuid(1000, 1000, 1000)
line = socket.create_connection((address, 80), 20)
state = client.http2_state()
bodies = {}
for host, path, headers in asks:
    stream = state.get_next_available_stream_id()
    bodies[stream] = b""
    pseudo = [(":method", "GET"), (":authority", host), (":scheme", "http"), (":path", path)]
    state.send_headers(stream, pseudo + [tuple(one) for one in headers], end_stream=True)
line.sendall(state.data_to_send())
ended = 0
while ended < len(bodies):
    for event in state.receive_data(line.recv(65536)):
        if isinstance(event, h2.events.DataReceived):
            bodies[event.stream_id] += event.data
            state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        ended += isinstance(event, h2.events.StreamEnded)
    line.sendall(state.data_to_send())
print(json.dumps([json.loads(body) for body in bodies.values()]))
"""


@FAMILIES
def test_streams_that_are_open_at_once_on_one_connection_take_different_tunnels(
    host: Steered, witness: Witness, family: int
) -> None:
    wanted = asks(host, witness) * 4
    given = json.dumps([(name, path, headers) for name, path, headers, _ in wanted])

    done = host.run(sys.executable, "-c", _STREAMS, SHARED[family], given=given)

    assert done.returncode == 0, done.stderr
    assert [one["source"] for one in json.loads(done.stdout)] == [
        world.seen_as(tunnel)[family] for *_, tunnel in wanted
    ]


@FAMILIES
def test_grpc_calls_on_one_channel_take_different_tunnels_with_messages_both_ways_and_trailers(
    host: Steered, witness: Witness, family: int
) -> None:
    wanted = asks(host, witness)

    with clients.connected(host.lab, SHARED[family], 50051, "grpc") as client:
        answers = [
            client.ask(
                "/shop.Store/GetItem",
                host=name,
                headers=headers,
                body="" if tunnel == "direct" else witness.canary.decode(),
                messages=1 + number % 3,
            )
            for number, (name, _, headers, tunnel) in enumerate(wanted)
        ]

    assert [(a.status, a.error) for a in answers] == [(0, "")] * len(wanted)
    assert [[m["source"] for m in a.json()] for a in answers] == [
        [world.seen_as(tunnel)[family]] * (1 + number % 3) for number, (*_, tunnel) in enumerate(wanted)
    ]
    assert all(("x-origin-trailer", "done") in a.trailers for a in answers)


def test_a_grpc_call_that_fails_at_the_origin_fails_with_its_status_and_trailer(
    host: Steered, witness: Witness
) -> None:
    headers = [host.token(role="admin"), witness.secret]
    with clients.connected(host.lab, SHARED[0], 50051, "grpc") as client:
        failed = client.ask("/shop.Store/Fail", host="records.example", headers=headers)

    assert (failed.status, failed.error, ("x-origin-trailer", "done") in failed.trailers) == (9, "asked to fail", True)


@FAMILIES
def test_a_websocket_stays_in_its_tunnel(host: Steered, witness: Witness, family: int) -> None:
    with clients.connected(host.lab, SHARED[family], 80, "websocket") as client:
        opened = client.ask("/ws", host="records.example", headers=[host.token(role="admin"), witness.secret])
        echoed = [client.ask("", host="", body=text).body for text in (witness.canary.decode(), "long" * 30000)]

    assert opened.json()["source"] == world.seen_as("wg-a")[family]
    assert echoed == [witness.canary.decode(), "long" * 30000]


@FAMILIES
def test_bytes_that_are_no_http_on_an_auto_port_are_decided_as_tcp(
    host: Steered, witness: Witness, family: int
) -> None:
    address = ("198.51.100.80", "2001:db8:2::80")[family]
    said = b"\x16\x03\x01 binary " + witness.canary

    assert host.talk(address, 7000, said, uid=1000) == said
    assert _last(host)["source"] == world.seen_as("wg-b")[family]


def test_plain_tcp_of_another_user_is_refused(host: Steered, witness: Witness) -> None:
    before = len(instance.reached(host.lab))

    assert witness.canary not in host.talk("198.51.100.80", 7000, b"\x16\x03\x01" + witness.canary, uid=1001)
    assert len(instance.reached(host.lab)) == before


def test_http_on_an_auto_port_is_decided_as_http(host: Steered, witness: Witness) -> None:
    request = b"GET / HTTP/1.1\r\nHost: 198.51.100.80:7000\r\nX-Canary: %b\r\n\r\n" % witness.canary

    assert host.talk("198.51.100.80", 7000, request).startswith(b"HTTP/1.1 403")


@FAMILIES
def test_a_server_that_speaks_first_is_reached_through_its_tunnel(host: Steered, witness: Witness, family: int) -> None:
    address = ("198.51.100.80", "2001:db8:2::80")[family]

    assert host.talk(address, 7001, witness.canary) == b"220 lab ready\r\n" + witness.canary
    assert _last(host)["source"] == world.seen_as("ovpn-c")[family]


def test_a_port_that_no_rule_knows_is_refused(host: Steered, witness: Witness) -> None:
    assert witness.canary not in host.talk("198.51.100.80", 7002, witness.canary)


def test_what_was_recorded_is_what_happened(host: Steered, witness: Witness) -> None:
    wanted = asks(host, witness)
    with clients.connected(host.lab, SHARED[0], 80) as client:
        for name, _, headers, _ in wanted:
            client.ask("/recorded?token=secret", host=name, headers=headers)

    def records() -> list[Any]:
        lines = (host.lab.runtime / "proxy" / "decisions.log").read_text().splitlines()
        return [one for one in map(json.loads, lines) if one.get("path") == "/recorded"]

    until(lambda: len(records()) == len(wanted), "all are on record", within=PATIENCE)
    assert [(one["lane"].partition("@")[2], one["source"].rpartition(":")[0]) for one in records()] == [
        (tunnel, _source(host, tunnel)) for *_, tunnel in wanted
    ]
    assert [one["user"] for one in records()] == ["ada", None, "bob", "bob", "ada"]
    assert "secret" not in (host.lab.runtime / "proxy" / "decisions.log").read_text()
    assert host.status()["counts"]["misrouted"] == 0


def _source(host: Steered, tunnel: str) -> str:
    return next(str(t["sources"][0]) for t in host.status()["tunnels"] if t["name"] == tunnel)


def _last(host: Steered) -> dict[str, object]:
    return instance.reached(host.lab)[-1]


# Last in this file: gateways do not come back.
def test_a_dead_gateway_stops_its_profile_alone(host: Steered, witness: Witness) -> None:
    secret = witness.secret
    admin, clerk = host.token(sub="ada", role="admin"), host.token(sub="bob", role="clerk")
    with clients.connected(host.lab, SHARED[0], 80) as client:
        open_already = client.ask("/", host="records.example", headers=[admin, secret])
        for name in ("gw-c", "gw-a"):
            for pid in on.processes(host.lab, name):
                signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGKILL)
        answers = {}
        for name, who, tunnel in (
            ("public.example", clerk, "direct"),
            ("records.example", clerk, "wg-b"),
            ("pay.example", clerk, "ovpn-c"),
        ):
            with clients.connected(host.lab, SHARED[0], 8080) as other:
                answers[tunnel] = other.ask("/", host=name, headers=[who, secret] if tunnel != "direct" else [who])
        # to an address where no connection stands yet
        with clients.connected(host.lab, "198.51.100.82", 50051, "grpc") as other:
            call = other.ask("/new.Store/GetItem", host="records.example", headers=[admin, secret], body=secret[1])
    fields = "".join(f"{': '.join(one)}\r\n" for one in (admin, secret))
    request = f"GET / HTTP/1.1\r\nHost: records.example\r\n{fields}Connection: close\r\n\r\n"
    begun = time.monotonic()
    pooled = host.talk(SHARED[0], 80, request.encode(), wait=50)

    assert (open_already.status, {tunnel: a.status for tunnel, a in answers.items()}) == (
        200,
        {"direct": 200, "wg-b": 200, "ovpn-c": 503},
    )
    assert answers["ovpn-c"].json()["type"] == "urn:pointsman:unavailable"
    assert call.status == GRPC_UNAVAILABLE
    # an upstream connection from before is given up, too
    assert pooled.startswith(b"HTTP/1.1 503"), time.monotonic() - begun

    def known() -> bool:
        return any(t["name"] == "ovpn-c" and t["state"] != "up" for t in host.status()["tunnels"])

    until(known, "the agent knows that the gateway is gone", within=60)
    with clients.connected(host.lab, SHARED[0], 80) as client:
        told = client.ask("/charge", host="pay.example", headers=[clerk, secret])
    assert (told.status, told.json()["rule"]) == (503, "payment")
