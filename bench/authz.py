"""The peer that decides outside the proxy: an ext_authz service over gRPC that looks the request up in a table."""

import asyncio
import os
import sys

import grpc
from envoy.service.auth.v3 import external_auth_pb2  # type: ignore[import-untyped]
from google.rpc import code_pb2  # type: ignore[import-untyped]

from bench import policies
from bench.place import PROXY_UID

METHOD = "envoy.service.auth.v3.Authorization"


async def serve(path: str, rules: int) -> None:
    """Answer on a socket until killed."""
    known = {key: number for number, key in enumerate(policies.keys("exact", rules, rules))}
    allowed = external_auth_pb2.CheckResponse()
    allowed.status.code = code_pb2.OK

    async def check(asked: external_auth_pb2.CheckRequest, _: object) -> external_auth_pb2.CheckResponse:
        request = asked.attributes.request.http
        known.get(policies.Key(request.headers.get(policies.TEAM, ""), request.path))
        return allowed

    handler = grpc.unary_unary_rpc_method_handler(
        check,
        request_deserializer=external_auth_pb2.CheckRequest.FromString,
        response_serializer=external_auth_pb2.CheckResponse.SerializeToString,
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(METHOD, {"Check": handler}),))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    os.chown(path, PROXY_UID, PROXY_UID)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
