"""Requests that wait for a tunnel: the proxy asks here (ext_authz, gRPC), and is told the cluster or why there is none.

The socket lies in a folder of root's that only the proxy may enter, so nobody else asks, and nobody else answers.
"""

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
from envoy.config.core.v3 import base_pb2
from envoy.service.auth.v3 import external_auth_pb2
from google.rpc import code_pb2

from pointsman.dataplane.asking import TUNNEL
from pointsman.dataplane.headers import header_of
from pointsman.model.attribute import AbsentValue, Attribute
from pointsman.model.context import Absent
from pointsman.policy.context import parse
from pointsman.policy.holding import WORKLOAD, named

SERVICE = "envoy.service.auth.v3.Authorization"
UNAVAILABLE = 503


@dataclass(frozen=True, slots=True)
class Ask:
    """One request that is held: the rule that decided, its profile, what tells its holder apart, and its connection.

    `source` and `destination` are the ends of that as its client sees them.
    """

    rule: str
    profile: str
    headers: Mapping[str, bytes]
    source: tuple[str, int]
    destination: tuple[str, int]


@dataclass(frozen=True, slots=True)
class Granted:
    """The cluster that the request leaves by."""

    cluster: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The request does not leave: why, fit to be told to an application."""

    why: str


Answer = Granted | Refused
# Tells the user of a connection between two ends
Owner = Callable[[tuple[str, int], tuple[str, int]], int | None]


class Desk:
    """Where the proxy asks. `keep` opens it, and opens it anew where somebody removed its socket."""

    def __init__(self, socket: Path, proxy_uid: int, answer: Callable[[Ask], Awaitable[Answer]]) -> None:
        self._socket = socket
        self._proxy_uid = proxy_uid
        self._answer = answer
        self._server: grpc.aio.Server | None = None

    async def keep(self) -> None:
        """Answer on the socket, if that is not what happens already. Who waited at the old one is refused."""
        if self._server is not None and self._socket.is_socket():
            return
        if self._server is not None:
            await self._server.stop(None)
        self._server = await serve(self._socket, self._proxy_uid, self._answer)


async def serve(socket: Path, proxy_uid: int, answer: Callable[[Ask], Awaitable[Answer]]) -> grpc.aio.Server:
    """Answer on the socket until the server is stopped."""
    socket.parent.mkdir(mode=0o710, exist_ok=True)
    os.chown(socket.parent, 0, proxy_uid)
    socket.parent.chmod(0o710)

    async def check(asked: external_auth_pb2.CheckRequest, _: object) -> external_auth_pb2.CheckResponse:
        return _told(await answer(_understood(asked)))

    handler = grpc.unary_unary_rpc_method_handler(
        check,
        request_deserializer=external_auth_pb2.CheckRequest.FromString,
        response_serializer=external_auth_pb2.CheckResponse.SerializeToString,
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Check": handler}),))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    os.chown(socket, 0, proxy_uid)
    socket.chmod(0o660)
    return server


def holder_named(ask: Ask, attribute: Attribute | None, owner: Owner) -> str | None:
    """Return the holder that an ask names by this attribute, None for nobody."""
    if attribute is None:
        return ask.rule
    if attribute is WORKLOAD:
        uid = owner(ask.source, ask.destination)
        return None if uid is None else str(uid)
    header = header_of(attribute)
    try:
        text = ask.headers.get(header or "", b"").decode()
    except UnicodeDecodeError:
        return None
    value = parse(attribute, text)
    if isinstance(value, Absent) and isinstance(attribute.absent, AbsentValue):
        value = attribute.absent.value
    return None if isinstance(value, Absent) else named(value)


def _understood(asked: external_auth_pb2.CheckRequest) -> Ask:
    attributes = asked.attributes
    extensions = attributes.context_extensions
    ends = (attributes.source.address.socket_address, attributes.destination.address.socket_address)
    source, destination = ((end.address, end.port_value) for end in ends)
    headers = {header.key: header.raw_value for header in attributes.request.http.header_map.headers}
    return Ask(extensions["rule"], extensions["profile"], headers, source, destination)


def _told(answer: Answer) -> external_auth_pb2.CheckResponse:
    """Return the answer in Envoy's words. One that says nothing would let the request pass, to nowhere."""
    response = external_auth_pb2.CheckResponse()
    match answer:
        case Granted(cluster):
            response.status.code = code_pb2.OK
            option = response.ok_response.headers.add()
            option.header.key = TUNNEL
            option.header.value = cluster
            option.append_action = base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
        case Refused(why):
            response.status.code = code_pb2.UNAVAILABLE
            response.denied_response.status.code = UNAVAILABLE
            response.denied_response.body = why
    return response
