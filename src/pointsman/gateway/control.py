"""What the operator can ask on the gateway itself, by its control socket."""

from pathlib import Path
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from pointsman.gateway import answer, client_file
from pointsman.gateway.admission import Refused
from pointsman.gateway.grant import OPERATOR, Grant
from pointsman.gateway.keeper import Keeper
from pointsman.gateway.request import Bandwidth
from pointsman.model.problem import Invalid, Place, Problem
from pointsman.model.profile import Qos
from pointsman.model.tunnel import Kind
from pointsman.system.control import listen, problems

_BANDWIDTH: TypeAdapter[int | None] = TypeAdapter(Bandwidth | None)


async def serve(keeper: Keeper, socket: Path) -> web.AppRunner:
    """Answer on the socket until the runner is cleaned up."""

    async def status(_: web.Request) -> web.StreamResponse:
        told = answer.status(keeper, await keeper.load())
        return web.json_response(told | {"dropped": await keeper.dropped()})

    async def tunnels(_: web.Request) -> web.StreamResponse:
        return web.json_response([_tunnel(keeper, grant) for grant in keeper.state.grants.values()])

    async def add(request: web.Request) -> web.StreamResponse:
        return web.json_response(await _add(keeper, await request.json()))

    async def remove(request: web.Request) -> web.StreamResponse:
        said = await request.json()
        return web.json_response({"removed": await keeper.remove((str(said["node"]), str(said["name"])), OPERATOR)})

    async def down(_: web.Request) -> web.StreamResponse:
        return web.json_response({"faults": [str(fault) for fault in await keeper.go_down()]})

    app = web.Application(middlewares=[problems])
    app.add_routes(
        [
            web.get("/v1/status", status),
            web.get("/v1/tunnels", tunnels),
            web.post("/v1/add", add),
            web.post("/v1/remove", remove),
            web.post("/v1/down", down),
        ]
    )
    return await listen(app, socket)


async def _add(keeper: Keeper, said: dict[str, Any]) -> dict[str, Any]:
    """Make a tunnel for good; return the file for its other end, whose private key is in it and nowhere else."""
    bandwidth = _bandwidth(said.get("bandwidth"))
    draft = client_file.draft(str(said["name"]), Kind(said["kind"]), bandwidth, Qos(said.get("qos", Qos.DEFAULT)))
    decided = await keeper.grant(draft.request)
    if isinstance(decided, Refused):
        raise Invalid(Problem(Place(), reason.label, reason.what) for reason in decided.reasons)
    site = answer.site(keeper, decided.grant.kind)
    return {"file": client_file.text(draft, decided.grant, site, keeper.secrets), "addresses": decided.grant.addresses}


def _bandwidth(said: object) -> int | None:
    try:
        return _BANDWIDTH.validate_python(said)
    except ValidationError as error:
        raise ValueError(f"`bandwidth`: {error.errors()[0]['msg'].lower()} (bit/s)") from error


def _tunnel(keeper: Keeper, grant: Grant) -> dict[str, object]:
    owner = grant.asked.owner
    more = {"node": None if owner == OPERATOR else owner, "bandwidth": grant.asked.bandwidth, "qos": grant.asked.qos}
    return answer.tunnel(keeper, grant) | more
