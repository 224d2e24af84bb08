"""What a real Envoy tells of requests and flows that still run: enough to decide anew, and to find their sockets."""

import json
import subprocess
import sys
from typing import Any

from pointsman.lab import exec as on
from pointsman.lab import world
from pointsman.lab.clients import connected, token
from pointsman.lab.names import Lab
from pointsman.lab.wait import until

from .conftest import FAST, SAFE, Proxy

ADDRESS = "198.51.100.80"


def running(proxy: Proxy, **wanted: object) -> dict[str, Any]:
    """The last running record with these fields, as soon as it is written."""
    log = proxy.place.state / "running.log"

    def found() -> list[dict[str, Any]]:
        records = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return [one for one in records if all(one.get(key) == wanted[key] for key in wanted)]

    until(lambda: bool(found()), f"a running record says {wanted}", log)
    return found()[-1]


def test_a_grpc_call_is_told_while_it_runs_with_its_claims_headers_and_socket(lab: Lab, proxy: Proxy) -> None:
    bearer = token(lab, role="admin", groups=["dev", "ops"])
    headers = [("authorization", f"Bearer {bearer}"), ("x-tenant", "gold")]
    with connected(lab, ADDRESS, 50051, "call") as client:
        seen = client.ask("/shop.Store/Watch", host="public.example", headers=headers).json()
        told = running(proxy, path="/shop.Store/Watch")
        again = client.ask("", host="").json()

    assert (told["lane"], told["source"]) == ("safe@b", f"{SAFE[0]}:{int(seen['source_port'])}")
    assert (told["claims"]["groups"], told["claims"]["role"]) == (["dev", "ops"], "admin")
    assert told["headers"] == {"x-tenant": "gold"}
    facts = (told["protocol"], told["method"], told["authority"], told["content_type"], told["destination"])
    assert facts == ("HTTP/2", "POST", "public.example", "application/grpc", f"{ADDRESS}:50051")
    assert again["message"] == 2
    assert bearer not in (proxy.place.state / "running.log").read_text()


def test_a_plain_flow_is_told_while_it_runs(lab: Lab, proxy: Proxy) -> None:
    flow = ["import socket,sys; s = socket.create_connection((sys.argv[1], 7001)); s.recv(99); sys.stdin.read()"]
    argv = on.command(lab, world.INSTANCE, [sys.executable, "-c", *flow, ADDRESS])
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as process:
        told = running(proxy, kind="tcp")
        process.communicate(b"")

    assert (told["lane"], told["source"].rpartition(":")[0]) == ("safe@b", SAFE[0])
    assert told["destination"] == f"{ADDRESS}:7001"


def test_a_websocket_is_told_while_it_runs(lab: Lab, proxy: Proxy) -> None:
    with connected(lab, ADDRESS, 80, "websocket") as client:
        client.ask("/ws", host="public.example")
        told = running(proxy, path="/ws")
    assert (told["lane"], told["source"].rpartition(":")[0], told["claims"]) == (
        "fast@a",
        FAST[0],
        None,
    )


def test_what_ended_is_told_once_and_what_was_short_is_not_told_as_running(lab: Lab, proxy: Proxy) -> None:
    with connected(lab, ADDRESS, 80) as client, connected(lab, ADDRESS, 80, "websocket") as long:
        long.ask("/ws-long", host="public.example")
        client.ask("/short", host="public.example")
        running(proxy, path="/ws-long")
        proxy.record(path="/short")
    proxy.record(path="/ws-long")

    assert [one["path"] for one in proxy.records() if one.get("path") in ("/short", "/ws-long")] == [
        "/short",
        "/ws-long",
    ]
    told = (proxy.place.state / "running.log").read_text()
    assert "/short" not in told
