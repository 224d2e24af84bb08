"""The agent's control socket: HTTP on a Unix socket that root alone can open."""

from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from pointsman.system.control import listen, problems

LARGEST_BODY = 64 * 1024 * 1024


class Telling(Protocol):
    """What can be asked of an agent."""

    def status(self) -> dict[str, Any]:
        """Return what is enforced now."""
        ...

    def metrics(self) -> bytes:
        """Return the counters in the Prometheus text format."""
        ...


class Ordered(Protocol):
    """What can be ordered of an agent."""

    async def apply_policy(self, text: bytes, name: str, folder: Path) -> dict[str, Any]:
        """Put another policy in force, or change nothing."""
        ...

    async def confirm(self) -> dict[str, Any]:
        """Keep what would be undone."""
        ...

    async def break_glass(self, seconds: int, reason: str) -> dict[str, Any]:
        """Open the host for a while."""
        ...

    async def close_glass(self) -> dict[str, Any]:
        """Close it before its time."""
        ...

    async def go_down(self) -> dict[str, Any]:
        """Remove all that is ours, and end."""
        ...


class Leasing(Protocol):
    """What can be asked of those who give tunnels to holders."""

    def told(self) -> dict[str, Any]:
        """Return who holds which tunnel."""
        ...

    async def revoke(self, profile: str, key: str, ban: float) -> bool:
        """End a lease; return whether there was one."""
        ...

    async def rotate(self, tunnel: str) -> str:
        """Have a tunnel with new keys take this one's place; return its name."""
        ...


async def serve(agent: Telling, orders: Ordered, leasing: Leasing, socket: Path) -> web.AppRunner:
    """Answer on the socket until the runner is cleaned up."""
    app = web.Application(client_max_size=LARGEST_BODY, middlewares=[problems])
    app.add_routes(
        [
            web.get("/v1/status", lambda _: _json(agent.status())),
            web.post("/v1/policy", lambda request: _policy(orders, request)),
            web.post("/v1/confirm", lambda _: _done(orders.confirm())),
            web.post("/v1/break-glass", lambda request: _break_glass(orders, request)),
            web.post("/v1/close-glass", lambda _: _done(orders.close_glass())),
            web.post("/v1/down", lambda _: _done(orders.go_down())),
            web.get("/v1/leases", lambda _: _json(leasing.told())),
            web.post("/v1/leases/revoke", lambda request: _revoke(leasing, request)),
            web.post("/v1/leases/rotate", lambda request: _rotate(leasing, request)),
            web.get("/metrics", lambda _: _metrics(agent)),
        ]
    )
    return await listen(app, socket)


async def _policy(orders: Ordered, request: web.Request) -> web.StreamResponse:
    body = await request.json()
    return web.json_response(await orders.apply_policy(body["text"].encode(), body["name"], Path(body["folder"])))


async def _break_glass(orders: Ordered, request: web.Request) -> web.StreamResponse:
    body = await request.json()
    return web.json_response(await orders.break_glass(int(body["seconds"]), str(body["reason"])))


async def _revoke(leasing: Leasing, request: web.Request) -> web.StreamResponse:
    body = await request.json()
    ended = await leasing.revoke(str(body["profile"]), str(body["holder"]), float(body["ban"]))
    return web.json_response({"revoked": ended})


async def _rotate(leasing: Leasing, request: web.Request) -> web.StreamResponse:
    body = await request.json()
    return web.json_response({"tunnel": await leasing.rotate(str(body["tunnel"]))})


async def _metrics(agent: Telling) -> web.StreamResponse:
    return web.Response(body=agent.metrics(), content_type="text/plain", charset="utf-8")


async def _json(answer: dict[str, Any]) -> web.StreamResponse:
    return web.json_response(answer)


async def _done(change: Awaitable[dict[str, Any]]) -> web.StreamResponse:
    return web.json_response(await change)
