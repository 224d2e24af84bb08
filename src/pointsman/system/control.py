"""HTTP on a Unix socket that root alone can open, with which agent and gateway are asked."""

import os
from collections.abc import Awaitable, Callable, Iterable
from json import JSONDecodeError
from pathlib import Path

from aiohttp import web

from pointsman.model.fault import Fault
from pointsman.model.problem import Invalid, Place, Problem

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_REFUSED = "refused; nothing was changed"


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
    """Answer expected failures as problem details (RFC 9457), with a label and all problems of the request."""
    try:
        return await handler(request)
    except Invalid as invalid:
        return _problem(422, "refused", _REFUSED, invalid.problems)
    except Fault as fault:
        return _problem(503, fault.label, str(fault))
    except (KeyError, JSONDecodeError) as wrong:
        return _problem(400, "not-understood", f"the request is not understood: {wrong}")
    except ValueError as wrong:
        return _problem(422, "refused", _REFUSED, [Problem(Place(), "refused", str(wrong))])


def _problem(status: int, label: str, title: str, problems: Iterable[Problem] = ()) -> web.StreamResponse:
    listed = [problem.fields for problem in problems]
    content = {"type": "about:blank", "title": title, "status": status, "label": label, "problems": listed}
    return web.json_response(content, status=status, content_type="application/problem+json")
