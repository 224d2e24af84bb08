"""What the clients of the lab send stands in the frames as it is."""

import pytest
import wsproto.frame_protocol as frames

from pointsman.lab import client


def test_an_http2_client_writes_its_header_fields_as_they_are() -> None:
    state = client.http2_state()
    pseudo = [(":method", "GET"), (":authority", "public.example"), (":scheme", "http"), (":path", "/a-path")]
    state.send_headers(1, [*pseudo, ("x-canary", "marker")], end_stream=True)

    sent = state.data_to_send()

    assert [word in sent for word in (b"public.example", b"/a-path", b"x-canary", b"marker")] == [True] * 4


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_a_websocket_client_sends_a_text_as_it_is_in_one_whole_frame(size: int) -> None:
    text = "marker" * (size // 6) + "x" * (size % 6)
    server = frames.FrameProtocol(client=False, extensions=[])
    sent = client.text_frame(text.encode())

    server.receive_bytes(sent)
    received = list(server.received_frames())

    assert sent.endswith(text.encode())
    assert "".join(str(one.payload) for one in received) == text
    assert [one.message_finished for one in received] == [True]
