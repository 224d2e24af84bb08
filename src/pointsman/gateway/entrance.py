"""Who is let in to speak to the gateway: connections are bounded in number, and in how long they may say nothing."""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable

from aiohttp import web

from pointsman.model.fault import Fault

MOST_CONNECTIONS = 1024
MOST_OF_ONE_ADDRESS = 64
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
        self._shaking: Counter[str] = Counter()
        self._doors: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()

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
        for task in self._tasks:
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
            if self._admits(address):
                task = asyncio.create_task(self._shake(line, address))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            else:
                line.close()

    def _admits(self, address: str) -> bool:
        # one that ends just now knows its address no more
        names = [one.transport.get_extra_info("peername") for one in self._server.connections if one.transport]
        known = Counter(name[0] for name in names if name) + self._shaking
        return known.total() < MOST_CONNECTIONS and known[address] < MOST_OF_ONE_ADDRESS

    async def _shake(self, line: socket.socket, address: str) -> None:
        """Make a connection of what was accepted, once it says something: TLS takes a quarter of a megabyte for it."""
        loop = asyncio.get_running_loop()
        self._shaking[address] += 1
        try:
            async with asyncio.timeout(FIRST_BYTE_WITHIN):
                await _spoken(line)
            await loop.connect_accepted_socket(
                self._connection, line, ssl=self._context(), ssl_handshake_timeout=HANDSHAKE_WITHIN
            )
        except OSError:
            line.close()
        finally:
            self._shaking -= Counter((address,))

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


async def _spoken(line: socket.socket) -> None:
    """Return once there is something to read."""
    loop = asyncio.get_running_loop()
    said = asyncio.Event()
    loop.add_reader(line, said.set)
    try:
        await said.wait()
    finally:
        loop.remove_reader(line)
