"""Who is let in to speak to the gateway: connections are bounded in number, and in how long they may say nothing.

Where all places are taken, the longest of those that have not proved who they are makes room for the next.
"""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from functools import partial

from aiohttp import web

from pointsman.model.fault import Fault

MOST_CONNECTIONS = 1024
# An IPv4 address, or the 64 bits of an IPv6 address that a single host can vary at will left out
MOST_OF_ONE_PLACE = 64
# In seconds: until the first byte, then for the handshake, then until the first request
FIRST_BYTE_WITHIN = 5.0
HANDSHAKE_WITHIN = 5.0
FIRST_REQUEST_WITHIN = 10.0
RETRY = 0.1


class Entrance:
    """Accepts connections for an HTTP server. `context` returns the TLS context that new ones meet."""

    def __init__(self, server: web.Server, context: Callable[[], ssl.SSLContext]) -> None:
        self._server = server
        self._context = context
        self._silent: set[web.RequestHandler] = set()
        self._doors: list[socket.socket] = []
        # Those that have not proved who they are, oldest first, each with where it calls from
        self._shaking: dict[asyncio.Task[None], str] = {}

    def listen(self, address: str, port: int) -> None:
        """Listen at this address; raise `Fault` where that cannot be."""
        try:
            door = socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        except OSError as error:
            raise Fault("api-listen", f"listen on `{address}` port {port}", str(error)) from error
        door.setblocking(False)
        self._doors.append(door)

    async def run(self) -> None:
        """Take connections until cancelled."""
        await asyncio.gather(*map(self._accept, self._doors))

    def heard(self, connection: web.RequestHandler) -> None:
        """Note that a connection has asked something."""
        self._silent.discard(connection)

    def close(self) -> None:
        """Listen no longer."""
        for task in self._shaking:
            task.cancel()
        for door in self._doors:
            door.close()

    async def _accept(self, door: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                line, (address, *_) = await loop.sock_accept(door)
            except OSError:  # it ended meanwhile, or there are no descriptors left
                await asyncio.sleep(RETRY)
                continue
            if self._admits(place := _place(address)):
                task = asyncio.create_task(self._shake(line))
                self._shaking[task] = place
                task.add_done_callback(partial(self._shaken, line))
            else:
                line.close()
            await asyncio.sleep(0)  # others have their turn, also where connections come faster than they are taken

    def _admits(self, place: str) -> bool:
        # one that ends just now knows its address no more
        names = [one.transport.get_extra_info("peername") for one in self._server.connections if one.transport]
        known = Counter(_place(name[0]) for name in names if name) + Counter(self._shaking.values())
        if known[place] >= MOST_OF_ONE_PLACE:
            return False
        return known.total() < MOST_CONNECTIONS or self._makes_room()

    def _makes_room(self) -> bool:
        """End whoever has been unproved for longest; return whether there is one."""
        for task in self._shaking:
            task.cancel()
            del self._shaking[task]
            return True
        return False

    async def _shake(self, line: socket.socket) -> None:
        """Make a connection of what was accepted, once it says something: TLS takes a quarter of a megabyte for it."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(FIRST_BYTE_WITHIN):
                await _spoken(line)
            if not line.recv(1, socket.MSG_PEEK):
                raise ConnectionResetError("it ended without a word")
            await loop.connect_accepted_socket(
                self._connection, line, ssl=self._context(), ssl_handshake_timeout=HANDSHAKE_WITHIN
            )
        except OSError:
            line.close()

    def _shaken(self, line: socket.socket, task: asyncio.Task[None]) -> None:
        self._shaking.pop(task, None)
        if task.cancelled():  # it may never have begun
            line.close()

    def _connection(self) -> asyncio.Protocol:
        """Serve one connection; who asks nothing is sent away."""
        made = self._server()
        self._silent.add(made)
        asyncio.get_running_loop().call_later(FIRST_REQUEST_WITHIN, self._send_away, made)
        return made

    def _send_away(self, connection: web.RequestHandler) -> None:
        if connection in self._silent and connection.transport is not None:
            connection.transport.abort()
        self._silent.discard(connection)


def _place(address: str) -> str:
    return socket.inet_pton(socket.AF_INET6, address.partition("%")[0])[:8].hex() if ":" in address else address


async def _spoken(line: socket.socket) -> None:
    """Return once there is something to read."""
    loop = asyncio.get_running_loop()
    said = asyncio.Event()
    loop.add_reader(line, said.set)
    try:
        await said.wait()
    finally:
        loop.remove_reader(line)
