"""Who is let in, by real sockets on loopback; what a connection has is read until the gateway ends it."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from pointsman.gateway import entrance
from pointsman.gateway.boot import first_to_end
from pointsman.gateway.entrance import Entrance
from pointsman.system.certificates import authority, issue

OWN = issue(authority("a", 1), "gateway", server=True, days=1)


class Gone(asyncio.Transport):
    """A connection that has ended, and knows its address no more."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def is_closing(self) -> bool:
        return True

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


class Broken(web.Server):
    """Cannot say whom it speaks with."""

    @property
    def connections(self) -> list[Any]:
        raise RuntimeError("a bug")


@asynccontextmanager
async def opened(folder: Path, server: web.Server) -> AsyncIterator[Entrance]:
    (folder / "own.pem").write_text(OWN.certificate + OWN.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "own.pem")
    door = Entrance(server, lambda: context)
    door.listen("127.0.0.1", 0)
    running = asyncio.create_task(door.run())
    try:
        yield door
        assert not running.done()
    finally:
        running.cancel()
        door.close()
        await server.shutdown(0.1)


def where(door: Entrance) -> tuple[str, int]:
    address, port = door._doors[0].getsockname()[:2]
    return address, port


async def asked(door: Entrance, kept: list[asyncio.StreamWriter]) -> bytes:
    """Ask by TLS and return the first line of the answer, empty where there is none; the connection stays open."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        reader, writer = await asyncio.open_connection(*where(door), ssl=context)
        kept.append(writer)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        return (await reader.readline()).strip()
    except OSError:
        return b""


def shut(lines: list[asyncio.StreamWriter]) -> None:
    for line in lines:
        line.close()


async def called(door: Entrance) -> socket.socket:
    """Connect and say nothing."""
    line = socket.socket()
    line.setblocking(False)
    await asyncio.get_running_loop().sock_connect(line, where(door))
    await asyncio.sleep(0.01)
    return line


async def ended(line: socket.socket) -> bool:
    try:
        return not await asyncio.wait_for(asyncio.get_running_loop().sock_recv(line, 1), 0.1)
    except TimeoutError:
        return False
    finally:
        line.close()


def server() -> web.Server:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="yes")

    return web.Server(answer)


def story(tell: Callable[[], Awaitable[None]]) -> None:
    async def told() -> None:
        async with asyncio.timeout(10):
            await tell()

    asyncio.run(told())


def test_a_connection_that_ends_while_another_comes_closes_no_port(tmp_path: Path) -> None:
    async def tell() -> None:
        made = server()
        lost = made()
        async with opened(tmp_path, made) as door:
            lost.connection_made(Gone())
            assert made.connections == [lost]
            kept: list[asyncio.StreamWriter] = []
            assert [await asked(door, kept) for _ in range(2)] == [b"HTTP/1.1 200 OK"] * 2
            shut(kept)

    story(tell)


def test_a_bug_where_connections_are_taken_ends_the_gateway(tmp_path: Path) -> None:
    async def tell() -> None:
        door = Entrance(Broken(None), lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # type: ignore[arg-type]
        door.listen("127.0.0.1", 0)
        socket.create_connection(door._doors[0].getsockname()[:2]).close()
        with pytest.raises(RuntimeError, match="a bug"):
            await first_to_end(door.run(), _forever())
        door.close()

    story(tell)


def test_where_all_places_are_taken_the_longest_that_is_unproved_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entrance, "MOST_CONNECTIONS", 3)

    async def tell() -> None:
        async with opened(tmp_path, server()) as door:
            silent = [await called(door) for _ in range(3)]
            kept: list[asyncio.StreamWriter] = []
            assert await asked(door, kept) == b"HTTP/1.1 200 OK"
            shut(kept)
            assert [await ended(line) for line in silent] == [True, False, False]

    story(tell)


def test_a_connection_that_ends_without_a_word_meets_no_tls(tmp_path: Path) -> None:
    async def tell() -> None:
        made = server()
        async with opened(tmp_path, made) as door:
            (await called(door)).close()
            await asyncio.gather(*door._shaking)
            assert made.requests_count == len(made.connections) == len(door._silent) == 0

    story(tell)


def test_between_any_two_that_are_taken_others_have_their_turn(tmp_path: Path) -> None:
    async def tell() -> None:
        async with opened(tmp_path, server()) as door:
            await asyncio.sleep(0.01)
            lines = [socket.create_connection(where(door)) for _ in range(5)]
            taken = [0]
            while taken[-1] < len(lines):
                await asyncio.sleep(0)
                taken.append(len(door._shaking))
            assert max(after - before for before, after in pairwise(taken)) == 1
            for line in lines:
                line.close()

    story(tell)


def test_of_many_that_come_at_once_no_more_are_kept_than_there_are_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entrance, "MOST_CONNECTIONS", 2)

    async def tell() -> None:
        async with opened(tmp_path, server()) as door:
            await asyncio.sleep(0.01)
            lines = [socket.create_connection(where(door)) for _ in range(5)]
            await asyncio.sleep(0.05)
            for line in lines:
                line.setblocking(False)
            assert [await ended(line) for line in lines] == [True, True, True, False, False]

    story(tell)


def test_who_has_proved_himself_makes_room_for_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrance, "MOST_CONNECTIONS", 2)

    async def tell() -> None:
        async with opened(tmp_path, server()) as door:
            kept: list[asyncio.StreamWriter] = []
            assert [await asked(door, kept) for _ in range(3)] == [b"HTTP/1.1 200 OK"] * 2 + [b""]
            shut(kept)

    story(tell)


def test_one_place_has_so_many_and_the_next_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrance, "MOST_OF_ONE_PLACE", 2)

    async def tell() -> None:
        async with opened(tmp_path, server()) as door:
            silent = [await called(door) for _ in range(3)]
            assert [await ended(line) for line in silent] == [False, False, True]

    story(tell)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2", True),
    ],
)
def test_an_ipv6_address_counts_with_all_that_one_host_can_have(one: str, other: str, same: bool) -> None:
    assert (entrance._place(one) == entrance._place(other)) is same


async def _forever() -> None:
    await asyncio.Event().wait()
