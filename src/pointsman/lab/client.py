"""A client's process: one connection, many requests. One JSON request per line in, one JSON answer per line out.

`python -m pointsman.lab.client KIND ADDRESS PORT [UID]` with KIND `http1`, `http2`, `grpc`, `call` or `websocket`. The
connection is made once, by the first request, and never again: what happens on it, happens on one connection. What is
sent stands in the frames as it is, without the code of HPACK and without a mask: a witness on the wire can find it.
"""

import encodings.idna  # noqa: F401 -- a socket loads it late, when the user may not read the interpreter's files
import http.client
import json
import os
import socket
import struct
import sys
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import grpc
import h2.config
import h2.connection
import h2.events
import hpack
import wsproto
import wsproto.connection
import wsproto.events
import wsproto.utilities
from google.protobuf import json_format, struct_pb2

TIMEOUT = 20.0
Ask = Callable[[Any], dict[str, Any]]


def http1(address: str, port: int) -> Ask:
    """Return a client for HTTP/1.1 on one connection."""
    connection = http.client.HTTPConnection(address, port, timeout=TIMEOUT)
    connection.connect()
    connection.auto_open = 0

    def ask(request: Any) -> dict[str, Any]:
        connection.putrequest(request["method"], request["path"], skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", request["host"])
        for name, value in request["headers"]:
            connection.putheader(name, value)
        body = request["body"].encode()
        if body:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body or None)
        answer = connection.getresponse()
        text = answer.read().decode("latin-1")
        headers = [(name.lower(), value) for name, value in answer.getheaders()]
        return {"status": answer.status, "headers": headers, "body": text}

    return ask


def http2(address: str, port: int) -> Ask:
    """Return a client for HTTP/2 cleartext with prior knowledge on one connection."""
    line = socket.create_connection((address, port), TIMEOUT)
    state = http2_state()
    line.sendall(state.data_to_send())

    def ask(request: Any) -> dict[str, Any]:
        stream = state.get_next_available_stream_id()
        pseudo = [(":method", request["method"]), (":authority", request["host"])]
        pseudo += [(":scheme", "http"), (":path", request["path"])]
        body = request["body"].encode()
        state.send_headers(stream, [*pseudo, *map(tuple, request["headers"])], end_stream=not body)
        if body:
            state.send_data(stream, body, end_stream=True)
        line.sendall(state.data_to_send())
        answer: dict[str, Any] = {"status": 0, "headers": [], "body": ""}
        while True:
            data = line.recv(65536)
            if not data:
                raise ConnectionError("the connection was closed")
            for event in state.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    answer["headers"] = _pairs(event.headers)
                    answer["status"] = int(dict(_pairs(event.headers))[":status"])
                elif isinstance(event, h2.events.DataReceived):
                    answer["body"] += event.data.decode("latin-1")
                    state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded) and event.stream_id == stream:
                    line.sendall(state.data_to_send())
                    return answer
                elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                    raise ConnectionError(str(event))
            line.sendall(state.data_to_send())

    return ask


class _Plain(hpack.Encoder):
    """Writes all fields as they are: the encoder of this library codes them also where that is longer."""

    def encode(self, headers: Any, huffman: bool = False) -> bytes:
        return super().encode(headers, huffman=False)


def http2_state() -> h2.connection.H2Connection:
    """Return a client's side of an HTTP/2 connection that has begun, and writes header fields as they are."""
    state = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    state.encoder = _Plain()
    state.initiate_connection()
    return state


def rpc(address: str, port: int) -> Ask:
    """Return a client for gRPC on one channel; `messages` is how many are sent, each after the last was answered."""
    channels: dict[str, Any] = {}

    def ask(request: Any) -> dict[str, Any]:
        host = request["host"]
        where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        channel = channels.setdefault(
            host,
            grpc.insecure_channel(where, (("grpc.default_authority", host), ("grpc.enable_retries", 0))),
        )
        call = channel.stream_stream(request["path"])(
            (request["body"].encode() for _ in range(request["messages"])), metadata=request["headers"], timeout=TIMEOUT
        )
        messages = []
        try:
            messages = [json_format.MessageToDict(struct_pb2.Struct.FromString(message)) for message in call]
        except grpc.RpcError:
            pass  # its status is the answer
        return {
            "status": call.code().value[0],
            "headers": [(name, str(value)) for name, value in call.initial_metadata()],
            "trailers": [(name, str(value)) for name, value in call.trailing_metadata() or ()],
            "body": json.dumps(messages),
            "error": call.details() or "",
        }

    return ask


def call(address: str, port: int) -> Ask:
    """Return a client for one gRPC call that stays open: each request sends `body` and takes a message."""
    said: SimpleQueue[bytes] = SimpleQueue()
    calls: list[Any] = []

    def ask(request: Any) -> dict[str, Any]:
        if not calls:
            where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
            options = (("grpc.default_authority", request["host"]), ("grpc.enable_retries", 0))
            method = grpc.insecure_channel(where, options).stream_stream(request["path"])
            calls.append(method(iter(said.get, None), metadata=request["headers"]))
        said.put(request["body"].encode())
        try:
            message = json_format.MessageToDict(struct_pb2.Struct.FromString(next(calls[0])))
        except grpc.RpcError as ended:
            return {"status": ended.code().value[0], "headers": [], "body": "", "error": ended.details() or "ended"}
        return {"status": 0, "headers": [], "body": json.dumps(message)}

    return ask


def websocket(address: str, port: int) -> Ask:
    """Return a client for one WebSocket: the first request opens it, each further one sends `body` and takes a text."""
    line = socket.create_connection((address, port), TIMEOUT)
    state = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)

    def take() -> dict[str, Any]:
        text = ""
        while True:
            for event in state.events():
                if isinstance(event, wsproto.events.RejectConnection):
                    return {"status": event.status_code, "headers": _pairs(event.headers), "body": ""}
                if isinstance(event, wsproto.events.TextMessage):
                    text += event.data
                    if event.message_finished:
                        return {"status": 101, "headers": [], "body": text}
                elif isinstance(event, wsproto.events.CloseConnection):
                    raise ConnectionError(f"closed: {event.code}")
            data = line.recv(65536)
            if not data:
                raise ConnectionError("the connection was closed")
            state.receive_data(data)

    def ask(request: Any) -> dict[str, Any]:
        if state.state is wsproto.connection.ConnectionState.OPEN:
            line.sendall(text_frame(request["body"].encode()))
        else:
            headers = [(name.encode(), value.encode()) for name, value in request["headers"]]
            line.sendall(state.send(wsproto.events.Request(request["host"], request["path"], extra_headers=headers)))
        return take()

    return ask


def text_frame(text: bytes) -> bytes:
    """Return a whole text message as a client sends it (RFC 6455), with a mask of zeros."""
    size = len(text)
    if size < 126:
        length = struct.pack("!B", 0x80 | size)
    elif size < 1 << 16:
        length = struct.pack("!BH", 0x80 | 126, size)
    else:
        length = struct.pack("!BQ", 0x80 | 127, size)
    return b"\x81" + length + bytes(4) + text


def _pairs(headers: Any) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def main() -> None:
    """Answer requests until the input ends. A connection that fails is an answer with `error`."""
    kind, address, port, *uid = sys.argv[1:]
    if uid:
        os.setgroups([])
        os.setresgid(int(uid[0]), int(uid[0]), int(uid[0]))
        os.setresuid(int(uid[0]), int(uid[0]), int(uid[0]))
    connect = {"http1": http1, "http2": http2, "grpc": rpc, "call": call, "websocket": websocket}[kind]
    ask: Ask | None = None
    for line in sys.stdin:
        try:
            ask = ask or connect(address, int(port))
            answer = {"error": "", "trailers": [], **ask(json.loads(line))}
        except (OSError, http.client.HTTPException, wsproto.utilities.RemoteProtocolError) as failed:
            answer = {"status": 0, "headers": [], "trailers": [], "body": "", "error": repr(failed)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
