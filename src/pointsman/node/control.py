"""The agent's control socket: HTTP on a Unix socket that root alone can open."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from pointsman.model.fault import Fault
from pointsman.model.problem import Invalid

LARGEST_BODY = 64 * 1024 * 1024

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Controlled(Protocol):
    """What can be asked of an agent."""

    def status(self) -> dict[str, Any]:
        """Return what is enforced now."""
        ...

    def metrics(self) -> bytes:
        """Return the counters in the Prometheus text format."""
        ...

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


async def serve(agent: Controlled, socket: Path) -> web.AppRunner:
    """Answer on the socket until the runner is cleaned up."""
    app = web.Application(client_max_size=LARGEST_BODY, middlewares=[_problems])
    app.add_routes(
        [
            web.get("/v1/status", lambda _: _json(agent.status())),
            web.post("/v1/policy", lambda request: _policy(agent, request)),
            web.post("/v1/confirm", lambda _: _done(agent.confirm())),
            web.post("/v1/break-glass", lambda request: _break_glass(agent, request)),
            web.post("/v1/close-glass", lambda _: _done(agent.close_glass())),
            web.post("/v1/down", lambda _: _done(agent.go_down())),
            web.get("/metrics", lambda _: _metrics(agent)),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    socket.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        await web.UnixSite(runner, str(socket)).start()
    finally:
        os.umask(before)
    return runner


async def _policy(agent: Controlled, request: web.Request) -> web.StreamResponse:
    body = await request.json()
    return web.json_response(await agent.apply_policy(body["text"].encode(), body["name"], Path(body["folder"])))


async def _break_glass(agent: Controlled, request: web.Request) -> web.StreamResponse:
    body = await request.json()
    return web.json_response(await agent.break_glass(int(body["seconds"]), str(body["reason"])))


async def _metrics(agent: Controlled) -> web.StreamResponse:
    return web.Response(body=agent.metrics(), content_type="text/plain", charset="utf-8")


async def _json(answer: dict[str, Any]) -> web.StreamResponse:
    return web.json_response(answer)


async def _done(change: Awaitable[dict[str, Any]]) -> web.StreamResponse:
    return web.json_response(await change)


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer expected failures as problem details (RFC 9457)."""
    try:
        return await handler(request)
    except Invalid as invalid:
        return _problem(422, "the policy is not valid; nothing was changed", [str(p) for p in invalid.problems])
    except Fault as fault:
        return _problem(503, str(fault), [])
    except (KeyError, ValueError) as wrong:
        return _problem(400, f"the request is not understood: {wrong}", [])


def _problem(status: int, title: str, problems: list[str]) -> web.StreamResponse:
    content = {"type": "about:blank", "title": title, "status": status, "problems": problems}
    return web.json_response(content, status=status, content_type="application/problem+json")
