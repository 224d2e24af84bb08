"""HTTP on a Unix socket that root alone can open, with which agent and gateway are asked."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from pointsman.model.fault import Fault
from pointsman.model.problem import Invalid

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def listen(app: web.Application, socket: Path) -> web.AppRunner:
    """Answer on the socket until the runner is cleaned up."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    socket.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        await web.UnixSite(runner, str(socket)).start()
    finally:
        os.umask(before)
    return runner


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
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
