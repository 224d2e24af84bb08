"""What a gateway answers is believed only as far as it may speak."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import ip_network
from typing import TypeVar

import httpx
import pytest

from pointsman.lab.world import GATEWAYS
from pointsman.model.fault import Fault
from pointsman.model.gateway import Gateway
from pointsman.model.profile import Level
from pointsman.model.tunnel import Kind
from pointsman.system.gateways import FarEnd
from pointsman.tunnels.keys import wireguard_private

GATEWAY = Gateway("gw", "192.0.2.21", 7443, Kind.WIREGUARD, Level.STRONG, (), "/ca", "/certificate", "/key")
OPENVPN = replace(GATEWAY, kind=Kind.OPENVPN)
GIVEN = {
    "addresses": ["10.0.0.2"],
    "endpoint": {"address": "192.0.2.21", "port": 51820, "protocol": "udp"},
    "mtu": 1420,
    "probe": ["10.0.0.1"],
    "expires_in": 120.0,
    "public_key": wireguard_private(),
}
GIVEN_OPENVPN = {**GIVEN, "public_key": "", "certificate": "-----", "peer_fingerprint": "00:11"}
OTHERS = ("100.64.0.0/24", "fc00::/64")
T = TypeVar("T")


def asked(
    content: bytes | object, ask: Callable[[FarEnd], Awaitable[T]], status: int = 200, of: Gateway = GATEWAY
) -> T:
    """Ask a gateway that answers just this."""

    async def all_of_it() -> T:
        gateway = FarEnd(of)
        body = {"content": content} if isinstance(content, bytes) else {"json": content}
        gateway._http = httpx.AsyncClient(
            base_url="https://192.0.2.21", transport=httpx.MockTransport(lambda _: httpx.Response(status, **body))
        )
        try:
            return await ask(gateway)
        finally:
            await gateway.close()

    return asyncio.run(all_of_it())


def test_a_gateway_tells_nothing_of_tunnels_that_it_was_not_asked_about() -> None:
    answer = {"renewed": [], "unknown": ["gw-1", "another-gateways"]}

    assert asked(answer, lambda gateway: gateway.renew(["gw-1", "gw-2"], 60)) == {"gw-1"}


@pytest.mark.parametrize("answer", [None, [], {}, {"unknown": None}, {"unknown": [{}]}])
def test_a_renewal_that_is_answered_otherwise_is_a_fault(answer: object) -> None:
    with pytest.raises(Fault, match="understand what gateway `gw` gave"):
        asked(answer, lambda gateway: gateway.renew(["gw-1"], 60))


@pytest.mark.parametrize("answer", [None, 3, ["gw-1"], [{}], [{"id": 1}], [{"id": "../status"}], [{"id": "a\n"}]])
def test_a_list_of_tunnels_that_is_none_is_a_fault(answer: object) -> None:
    with pytest.raises(Fault, match="understand what gateway `gw` gave"):
        asked(answer, lambda gateway: gateway.tunnels())


@pytest.mark.parametrize(
    "changed",
    [
        {"mtu": float("inf")},
        {"mtu": 100},
        {"endpoint": {"address": "198.51.100.9", "port": 51820, "protocol": "udp"}},
        {"addresses": ["127.0.0.1"]},
        {"addresses": ["9.9.9.9"]},
        {"addresses": ["2620:fe::fe"]},
        {"addresses": ["::ffff:10.0.0.2"]},
        {"addresses": ["fd00::2%eth0"]},
        {"addresses": ["10.0.0.2", "10.0.0.3"]},
        {"probe": ["9.9.9.9"]},
        {"probe": []},
        {"public_key": None},
        {"public_key": "AAAA"},
    ],
)
def test_a_tunnel_that_leads_elsewhere_or_nowhere_is_a_fault(changed: dict[str, object]) -> None:
    assert asked(GIVEN, lambda gateway: gateway.make("gw-1", {})).addresses == ("10.0.0.2",)
    text = json.dumps({**GIVEN, **changed}).encode()

    with pytest.raises(Fault, match="understand what gateway `gw` gave"):
        asked(text, lambda gateway: gateway.make("gw-1", {}))


@pytest.mark.parametrize("inner", [*(pair for one in GATEWAYS for pair in (one.networks, one.spare)), OTHERS])
def test_addresses_of_private_networks_are_what_tunnels_have(inner: tuple[str, str]) -> None:
    probe, own = zip(*((str(net[1]), str(net[2])) for net in map(ip_network, inner)), strict=True)

    made = asked({**GIVEN, "addresses": own, "probe": probe}, lambda gateway: gateway.make("gw-1", {}))

    assert (made.addresses, made.probe) == (own, probe)


@pytest.mark.parametrize("lacking", ["certificate", "peer_fingerprint"])
def test_an_openvpn_tunnel_without_what_it_proves_itself_with_is_a_fault(lacking: str) -> None:
    made = asked(GIVEN_OPENVPN, lambda gateway: gateway.make("gw-1", {}), of=OPENVPN)
    assert (made.certificate, made.fingerprint) == ("-----", "00:11")

    with pytest.raises(Fault, match="no usable certificate or fingerprint"):
        asked({**GIVEN_OPENVPN, lacking: ""}, lambda gateway: gateway.make("gw-1", {}), of=OPENVPN)


def test_what_is_no_answer_at_all_is_silence() -> None:
    for text in (b"<html>", b"[" * 100_000):
        with pytest.raises(Fault) as silent:
            asked(text, lambda gateway: gateway.tunnels())
        assert silent.value.label == "gateway-silent"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"title": "no", "problems": [{"label": "a", "what": "full"}]}, "full"),
        ({"title": "no", "problems": []}, "no"),
        (["no"], "507"),
    ],
)
def test_a_refusal_carries_its_reasons(answer: object, why: str) -> None:
    with pytest.raises(Fault, match=why) as refused:
        asked(answer, lambda gateway: gateway.make("gw-1", {}), 507)
    assert refused.value.label == "gateway-refused"


def test_a_refusal_with_unheard_of_reasons_is_a_fault() -> None:
    with pytest.raises(Fault, match="understand"):
        asked({"problems": ["full"]}, lambda gateway: gateway.make("gw-1", {}), 507)


def test_an_answer_without_end_is_cut() -> None:
    with pytest.raises(Fault, match="longer than 1048576 bytes"):
        asked(b"[" + b" " * (1 << 20), lambda gateway: gateway.tunnels())


class Slow(httpx.AsyncBaseTransport):
    """Connections that break at the first request, and take their time to close."""

    def __init__(self) -> None:
        self.closing, self.closed = asyncio.Event(), asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("broken")

    async def aclose(self) -> None:
        self.closing.set()
        await self.closed.wait()


def test_who_asks_while_broken_connections_close_opens_new_ones() -> None:
    async def all_of_it() -> list[object]:
        gateway, slow = FarEnd(GATEWAY), Slow()
        gateway._http = httpx.AsyncClient(base_url="https://192.0.2.21", transport=slow)
        first = asyncio.create_task(gateway.tunnels())
        await slow.closing.wait()
        second = asyncio.create_task(gateway.tunnels())
        await asyncio.wait([second], timeout=5)
        slow.closed.set()
        return await asyncio.gather(first, second, return_exceptions=True)

    broken, anew = asyncio.run(all_of_it())

    assert (str(broken), str(anew)) == (
        "ask gateway `gw` to GET /v1/tunnels: broken",
        "use `/certificate`, `/key` and `/ca` for gateway `gw`: "
        + "; ".join(f"`/{name}` cannot be read: No such file or directory" for name in ("certificate", "key", "ca")),
    )


def test_who_asks_with_connections_that_are_closed_hears_of_silence() -> None:
    async def all_of_it() -> None:
        gateway = FarEnd(GATEWAY)
        gateway._http = httpx.AsyncClient(base_url="https://192.0.2.21")
        await gateway._http.aclose()
        await gateway.tunnels()

    with pytest.raises(Fault) as silent:
        asyncio.run(all_of_it())
    assert silent.value.label == "gateway-silent"
