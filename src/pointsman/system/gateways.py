"""The edge to a gateway: asks it for tunnels over mutual TLS 1.3, and holds no opinion about the answer."""

import asyncio
import base64
import json
import re
import ssl
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import httpx

from pointsman.model.fault import Fault
from pointsman.model.gateway import Gateway, Given
from pointsman.model.tunnel import Endpoint, Kind
from pointsman.system.credentials import Files, look
from pointsman.system.netlink import observe_links

# In seconds, for a whole answer; bytes of one
_PATIENCE = 3.0
_LARGEST = 1 << 20
_OURS = "pm"  # how the names of our tunnels' devices begin
# What a tunnel is called, here and there; it becomes part of a path
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
# Where addresses inside tunnels are from: RFC 1918, RFC 6598, RFC 4193. One from elsewhere may be somebody's whom this
# host asks, and what is bound to no device would stay here
_INNER = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")))
# A connection outlives the time between two looks at its gateway: a holder need not wait for a handshake
_KEPT = httpx.Limits(keepalive_expiry=60.0)


class FarEnd:
    """One gateway as this node asks it; connections are kept. A refusal is a `Fault` labelled `gateway-refused`."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._http: httpx.AsyncClient | None = None

    async def make(self, name: str, body: Mapping[str, object]) -> Given:
        """Return the far end of a tunnel of this name, made now or before from the same body."""
        links = await asyncio.to_thread(observe_links)
        own = frozenset(address for link in links if not link.name.startswith(_OURS) for address in link.addresses)
        return _given(await self._ask("PUT", f"/v1/tunnels/{name}", body), self._gateway, own)

    async def remove(self, name: str) -> None:
        """Take a tunnel away. One that is not there is fine."""
        await self._ask("DELETE", f"/v1/tunnels/{name}", None)

    async def renew(self, names: Sequence[str], ttl: float) -> frozenset[str]:
        """Keep these tunnels for so many seconds more; return those of them that the gateway does not know."""
        answer = await self._ask("POST", "/v1/renew", {"ids": list(names), "ttl": int(ttl)})
        with _understanding(self._gateway):
            return frozenset(names).intersection(answer["unknown"])

    async def tunnels(self) -> frozenset[str]:
        """Return the names of this node's tunnels there."""
        answer = await self._ask("GET", "/v1/tunnels", None)
        with _understanding(self._gateway):
            return frozenset(_id(one["id"]) for one in answer)

    async def close(self) -> None:
        """Close the connections. Who asks meanwhile opens new ones."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def _ask(self, method: str, path: str, body: object) -> Any:
        tried = f"ask gateway `{self._gateway.name}` to {method} {path}"
        http = self._http
        try:
            async with asyncio.timeout(_PATIENCE):
                if http is None:
                    http = self._http = self._connected()
                async with http.stream(method, path, json=body) as answer:
                    content = await _read(answer)
        # a RuntimeError is a client that somebody closed meanwhile, or JSON that is too deep
        except (httpx.HTTPError, OSError, ValueError, RuntimeError) as error:
            if self._http is http:
                await self.close()
            raise Fault("gateway-silent", tried, str(error) or type(error).__name__) from error
        if not answer.is_success:
            with _understanding(self._gateway):
                raise Fault("gateway-refused", tried, _why(content) or str(answer.status_code))
        return content

    def _connected(self) -> httpx.AsyncClient:
        gateway = self._gateway
        context = context_of(gateway)
        host = f"[{gateway.address}]" if ":" in gateway.address else gateway.address
        return httpx.AsyncClient(
            base_url=f"https://{host}:{gateway.port}",
            headers={"accept-encoding": "identity"},
            verify=context,
            timeout=_PATIENCE,
            limits=_KEPT,
            trust_env=False,
        )


def files_of(gateway: Gateway) -> Files:
    """Return the files by which this node proves itself to a gateway, and believes it."""
    return Files(Path(gateway.certificate), Path(gateway.key), Path(gateway.ca))


def context_of(gateway: Gateway) -> ssl.SSLContext:
    """Return how a gateway is asked; raise `Fault` where the files for it cannot be used. It cannot be asked then."""
    files = files_of(gateway)
    tried = f"use `{files.certificate}`, `{files.key}` and `{files.authority}` for gateway `{gateway.name}`"
    if why := look(files, server=False, now=datetime.now(UTC)).unusable:
        raise Fault("gateway-silent", tried, why)
    try:
        context = ssl.create_default_context(cafile=gateway.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(gateway.certificate, gateway.key)
    except (OSError, ssl.SSLError) as error:
        raise Fault("gateway-silent", tried, str(error)) from error
    return context


async def _read(answer: httpx.Response) -> Any:
    """Return what an answer says, None where it is empty. Raises ValueError where it is more than a gateway may say."""
    if "content-encoding" in answer.headers:
        raise ValueError("its answer is packed, which nobody asked for")
    content = bytearray()
    async for part in answer.aiter_bytes():
        content += part
        if len(content) > _LARGEST:
            raise ValueError(f"its answer is longer than {_LARGEST} bytes")
    return json.loads(content) if content else None


def _given(answer: Mapping[str, Any], gateway: Gateway, own: Container[str]) -> Given:
    """Return what a gateway gave, if it is no more than a gateway may say: packets go to it and nowhere else.

    `own` are the addresses that this host has outside of tunnels: none of them can be one inside.
    """
    with _understanding(gateway):
        where = answer["endpoint"]
        given = Given(
            addresses=tuple(_host(text) for text in answer["addresses"]),
            endpoint=Endpoint(str(ip_address(where["address"])), int(where["port"]), str(where["protocol"])),
            mtu=int(answer["mtu"]),
            probe=tuple(_host(text) for text in answer["probe"]),
            ttl=float(answer["expires_in"]),
            public_key=str(answer.get("public_key") or ""),
            certificate=str(answer.get("certificate") or ""),
            fingerprint=str(answer.get("peer_fingerprint") or ""),
        )
        if given.endpoint.address != gateway.address or given.endpoint.protocol not in ("udp", "tcp"):
            raise ValueError(f"endpoint {given.endpoint}")
        if taken := [one for one in (*given.addresses, *given.probe) if one in own or one == gateway.address]:
            raise ValueError(f"address {taken[0]}: it is one outside of tunnels")
        if len({":" in one for one in given.addresses}) != len(given.addresses):
            raise ValueError("addresses: more than one of a family")
        if set(given.addresses) & set(given.probe):
            raise ValueError("probe: it is this end's own address")
        if not (
            given.addresses
            and given.probe
            and 1280 <= given.mtu <= 9000
            and 0 < given.endpoint.port < 65536
            and given.ttl > 0
        ):
            raise ValueError("addresses, probe, mtu, port or time to live")
        if gateway.kind is Kind.WIREGUARD and len(base64.b64decode(given.public_key, validate=True)) != 32:
            raise ValueError("public key")
        if gateway.kind is Kind.OPENVPN and not (given.certificate and given.fingerprint):
            raise ValueError("certificate or fingerprint")
        return given


@contextmanager
def _understanding(gateway: Gateway) -> Iterator[None]:
    """Raise `Fault` labelled `gateway-answer` where what a gateway said is not what it may say."""
    try:
        yield
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Fault("gateway-answer", f"understand what gateway `{gateway.name}` gave", f"no usable {error}") from error


def _id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise ValueError("id of a tunnel")
    return text


def _host(text: str) -> str:
    address = ip_address(text)
    if "%" in str(address) or not any(address in network for network in _INNER):
        raise ValueError(f"address {address}: it is none of a private network")
    return str(address)


def _why(content: object) -> str:
    if not isinstance(content, Mapping):
        return ""
    problems = content.get("problems") or ()
    return "; ".join(str(one["what"]) for one in problems) or str(content.get("title") or "")
