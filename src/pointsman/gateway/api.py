"""The API for nodes: HTTP and JSON over mutual TLS 1.3. A node is who its certificate says.

Nobody can hold up others: connections are bounded in number and in silence (`entrance`), bodies in size and time.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from pointsman.gateway import answer
from pointsman.gateway.admission import Reason, Refused
from pointsman.gateway.credentials import Credentials
from pointsman.gateway.entrance import Entrance
from pointsman.gateway.keeper import Keeper
from pointsman.gateway.request import NAME, read_renewal, read_request
from pointsman.gateway.site import Api
from pointsman.model.fault import Fault
from pointsman.system.credentials import node_names
from pointsman.system.log import Log
from pointsman.system.secrets import read_secret
from pointsman.tunnels.preshared import preshared_key

# A request for a tunnel takes half a kilobyte, a renewal lists up to 10,000 names
LARGEST_BODY = 16 << 10
LARGEST_RENEWAL = 1 << 20
BODY_WITHIN = 10.0
ANSWER_WITHIN = 15.0
IDLE = 75.0
REFRESH_EVERY = 10.0

_USED_UP = frozenset(
    {"addresses-used-up", "tunnels-used-up", "node-used-up", "bandwidth-used-up", "node-bandwidth-used-up"}
)
_CONFLICTS = frozenset({"id-taken", "key-taken"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Caller:
    """A node that has proved who it is."""

    name: str


class Door:
    """The listening side. Certificates are read again when their files have changed."""

    def __init__(self, keeper: Keeper, api: Api) -> None:
        self._keeper = keeper
        self._api = api
        self._credentials = Credentials(api)
        self._entrance: Entrance | None = None
        app = web.Application(middlewares=[self._note, _problems])
        app.add_routes(
            [
                web.get("/v1/status", self._status),
                web.get("/v1/tunnels", self._tunnels),
                web.put("/v1/tunnels/{id}", self._put),
                web.delete("/v1/tunnels/{id}", self._delete),
                web.post("/v1/renew", self._renew),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=IDLE, lingering_time=0)

    async def open(self) -> None:
        """Listen on all addresses; raise `Fault` where that cannot be."""
        await self.refresh()
        await self._runner.setup()
        if self._runner.server is None:
            raise RuntimeError("it was set up and has no server")
        self._entrance = Entrance(self._runner.server, lambda: self._credentials.context)
        for address in self._api.listen:
            self._entrance.listen(address, self._api.port)

    async def refresh(self) -> None:
        """Read the certificates if their files have changed; raise `Fault` where they cannot be used.

        Who was let in by other files has to prove itself again, after what it asks now is answered.
        """
        if self._credentials.refresh() and self._runner.server is not None:
            await asyncio.gather(*(one.shutdown(ANSWER_WITHIN) for one in self._runner.server.connections))

    async def run(self, log: Log) -> None:
        """Let nodes in until cancelled, and look after the certificates."""
        if self._entrance is None:
            raise RuntimeError("it is not open")
        await asyncio.gather(self._entrance.run(), self._tend(log))

    async def _tend(self, log: Log) -> None:
        """Read certificates again and again. What cannot be used is told, and what was there stays."""
        while True:
            await asyncio.sleep(REFRESH_EVERY)
            try:
                await self.refresh()
            except Fault as fault:
                log.fault(fault)

    async def close(self) -> None:
        """Listen no longer, and end what is open."""
        if self._entrance is not None:
            self._entrance.close()
        await self._runner.cleanup()

    @web.middleware
    async def _note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._entrance is not None:
            self._entrance.heard(request.protocol)
        return await handler(request)

    async def _status(self, request: web.Request) -> web.StreamResponse:
        _caller(request)
        return web.json_response(answer.status(self._keeper, await self._keeper.load()))

    async def _tunnels(self, request: web.Request) -> web.StreamResponse:
        caller = _caller(request)
        own = [grant for grant in self._keeper.state.grants.values() if grant.asked.owner == caller.name]
        return web.json_response([answer.tunnel(self._keeper, grant) for grant in own])

    async def _put(self, request: web.Request) -> web.StreamResponse:
        caller = _caller(request)
        name = _name(request)
        own = self._keeper.secrets.public_key
        asked = read_request(caller.name, name, await _body(request), own, partial(self._shared, caller, name))
        decided = asked if isinstance(asked, Refused) else await self._keeper.grant(asked)
        if isinstance(decided, Refused):
            return _refusal(decided.reasons)
        told = answer.granted(self._keeper, decided.grant)
        return web.json_response(told, status=201 if decided.fresh else 200)

    def _shared(self, caller: Caller, name: str, public: str) -> str:
        path = self._api.secret_of(caller.name)
        return preshared_key(read_secret(path), name, public, self._keeper.secrets.public_key) if path else ""

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        caller = _caller(request)
        await self._keeper.remove((caller.name, _name(request)), caller.name)
        return web.Response(status=204)

    async def _renew(self, request: web.Request) -> web.StreamResponse:
        caller = _caller(request)
        asked = read_renewal(await _body(request, LARGEST_RENEWAL))
        if isinstance(asked, Refused):
            return _refusal(asked.reasons)
        renewed, unknown = await self._keeper.renew(caller.name, asked.ids, asked.ttl)
        return web.json_response({"renewed": renewed, "unknown": unknown})


def _caller(request: web.Request) -> Caller:
    """Return the node that the certificate names; it must name exactly one."""
    certificate = request.get_extra_info("peercert") or {}
    found = node_names([value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"])
    if len(found) != 1:
        raise web.HTTPForbidden(reason="the certificate names no node, or more than one")
    return Caller(found[0])


def _name(request: web.Request) -> str:
    name = request.match_info["id"]
    if not re.fullmatch(NAME, name):
        raise web.HTTPNotFound(reason="an id has up to 63 of a-z, 0-9 and -, and begins with a letter or digit")
    return name


async def _body(request: web.Request, most: int = LARGEST_BODY) -> bytes:
    """Return the body. Of one that is too large so much is read that its sender, if it has an end soon, hears why."""
    read = bytearray()
    async with asyncio.timeout(BODY_WITHIN):
        async for part in request.content.iter_any():
            read += part
            if len(read) > LARGEST_RENEWAL:
                break
    if len(read) > most:
        raise web.HTTPRequestEntityTooLarge(most, len(read))
    return bytes(read)


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer expected failures as problem details (RFC 9457)."""
    try:
        return await handler(request)
    except web.HTTPException as said:
        labels = {403: "not-a-node", 404: "not-found", 405: "not-allowed", 413: "too-large"}
        return _problem(said.status, labels.get(said.status, "http"), said.reason, ())
    except Fault as fault:
        return _problem(503, fault.label, str(fault), ())
    except TimeoutError:
        return _problem(408, "too-slow", f"the body did not come within {BODY_WITHIN:.0f} s", ())


def _refusal(reasons: tuple[Reason, ...]) -> web.StreamResponse:
    labels = {reason.label for reason in reasons}
    status = 409 if labels & _CONFLICTS else 507 if labels & _USED_UP else 422
    return _problem(status, reasons[0].label, "the tunnel is not granted", reasons)


def _problem(status: int, label: str, title: str, reasons: Iterable[Reason]) -> web.StreamResponse:
    told = [{"label": reason.label, "what": reason.what} for reason in reasons]
    content = {"type": "about:blank", "label": label, "title": title, "status": status, "problems": told}
    return web.json_response(content, status=status, content_type="application/problem+json")
