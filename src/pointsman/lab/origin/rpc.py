"""gRPC at the origin: any service and method. Each message is answered with what was seen, a `google.protobuf.Struct`.

One handler serves unary and streaming calls, which look the same on the wire. The call ends with the trailer
`x-origin-trailer`; a method named `Fail` ends with FAILED_PRECONDITION.
"""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import grpc
import grpc.aio
from google.protobuf import json_format, struct_pb2

from pointsman.lab.origin.record import Record, Seen, plain


class _Anything(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, record: Record, port: int) -> None:
        self._record = record
        self._port = port

    def service(self, handler_call_details: Any) -> Any:
        path = handler_call_details.method

        async def answer(messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            seen = _seen(path, context, self._port)
            self._record.add(seen)
            context.set_trailing_metadata((("x-origin-trailer", "done"),))
            if path.endswith("/Fail"):
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "asked to fail")
            number = 0
            async for message in messages:
                number += 1
                facts = {**seen.facts(), "message": number, "length": len(message)}
                yield json_format.Parse(json.dumps(facts), struct_pb2.Struct()).SerializeToString()

        return grpc.stream_stream_rpc_method_handler(answer)


async def serve(record: Record, port: int) -> Any:
    """Start the gRPC server and return it."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((_Anything(record, port),))
    server.add_insecure_port(f"[::]:{port}")
    await server.start()
    return server


def _seen(path: str, context: Any, port: int) -> Seen:
    _, _, peer = unquote(context.peer()).partition(":")
    source, _, source_port = peer.rpartition(":")
    headers = tuple(
        (name, value if isinstance(value, str) else value.hex()) for name, value in context.invocation_metadata()
    )
    return Seen("grpc", plain(source.strip("[]")), int(source_port), "", port, "POST", "", path, headers)
