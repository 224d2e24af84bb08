"""What came back on a connection, read from its bytes: HTTP/1.1 answers in order, HTTP/2 answers by stream."""

from dataclasses import dataclass

from hpack import Decoder, HPACKError
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import ContinuationFrame, DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame

SWITCHING = 101


@dataclass(frozen=True, slots=True)
class Answer:
    """One final answer. Status 0 is a stream that was reset; gRPC answers have their own status too."""

    status: int
    body: bytes = b""
    grpc: str = ""


def answers(protocol: str, data: bytes, ended: bool) -> tuple[Answer, ...]:
    """Return the complete answers in these bytes. One without a length is complete when the connection has ended."""
    return http2(data) if protocol == "http2" else http1(data, ended)


def http1(data: bytes, ended: bool) -> tuple[Answer, ...]:
    """Return the complete answers of an HTTP/1.1 connection, informational ones left out."""
    found: list[Answer] = []
    while (end := data.find(b"\r\n\r\n")) >= 0 and data.startswith(b"HTTP/1."):
        head, rest = data[:end].split(b"\r\n"), data[end + 4 :]
        status = int(head[0].split(b" ")[1])
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in head[1:])}
        if status == SWITCHING:
            return (*found, Answer(status, rest))
        if status < 200:
            data = rest
            continue
        length = headers.get(b"content-length")
        if length is None and status not in (204, 304):
            return (*found, Answer(status, rest)) if ended else tuple(found)
        size = int(length or 0)
        if len(rest) < size:
            break
        found.append(Answer(status, rest[:size], headers.get(b"grpc-status", b"").decode("latin-1")))
        data = rest[size:]
    return tuple(found)


def http2(data: bytes) -> tuple[Answer, ...]:
    """Return the ended streams of an HTTP/2 connection, by number of stream."""
    decoder, block = Decoder(), b""
    headers: dict[int, dict[str, str]] = {}
    bodies: dict[int, bytes] = {}
    done: dict[int, bool] = {}
    for frame in frames(data):
        stream = frame.stream_id
        if isinstance(frame, HeadersFrame | ContinuationFrame):
            block += frame.data
            if "END_HEADERS" in frame.flags:
                try:
                    fields = decoder.decode(block)
                except HPACKError:
                    break
                known = headers.setdefault(stream, {})
                known.update((str(name), str(value)) for name, value in fields)
                if known.get(":status", "").startswith("1"):
                    headers.pop(stream)
                block = b""
        elif isinstance(frame, DataFrame):
            bodies[stream] = bodies.get(stream, b"") + frame.data
        if isinstance(frame, RstStreamFrame):
            done.setdefault(stream, stream in headers and frame.error_code == 0)
        elif "END_STREAM" in frame.flags:
            done.setdefault(stream, True)
    return tuple(
        Answer(
            int(headers[stream].get(":status", "0")), bodies.get(stream, b""), headers[stream].get("grpc-status", "")
        )
        if whole and stream in headers
        else Answer(0)
        for stream, whole in sorted(done.items())
    )


def frames(data: bytes) -> list[Frame]:
    """Return the whole frames at the start of these bytes."""
    found: list[Frame] = []
    while len(data) >= 9:
        try:
            frame, length = Frame.parse_frame_header(memoryview(data[:9]))
            if len(data) < 9 + length:
                break
            frame.parse_body(memoryview(data[9 : 9 + length]))
        except HyperframeError:
            break
        found.append(frame)
        data = data[9 + length :]
    return found


def goes_away(data: bytes) -> bool:
    """Return whether the other side has said that the connection ends."""
    return any(isinstance(frame, GoAwayFrame) for frame in frames(data))
