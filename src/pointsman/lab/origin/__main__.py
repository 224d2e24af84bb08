"""The origin's process: `python -m pointsman.lab.origin RECORD READY` serves until it is told to end."""

import asyncio
import signal
import sys
from pathlib import Path

from hypercorn.asyncio import serve as serve_http
from hypercorn.config import Config

from pointsman.lab.origin import rpc, stream
from pointsman.lab.origin.record import Record
from pointsman.lab.origin.web import Origin

HTTP_PORTS = (80, 8080)
RAW_PORT = 8081
GRPC_PORT = 50051
ECHO_PORT = 7000
GREET_PORT = 7001


async def serve(record: Record, ready: Path) -> None:
    """Serve everything until SIGTERM; the file `ready` appears when all ports listen."""
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for kind in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(kind, end.set)
    config = Config()
    config.bind = [f"[::]:{port}" for port in HTTP_PORTS]  # both families: the socket is dual-stack
    config.keep_alive_timeout = 300
    config.graceful_timeout = 0.1
    config.h2_max_concurrent_streams = 1000
    config.accesslog = None
    async with asyncio.TaskGroup() as group:
        group.create_task(serve_http(Origin(record), config, shutdown_trigger=end.wait))
        grpc = await rpc.serve(record, GRPC_PORT)
        servers = [
            await stream.serve(record, ECHO_PORT, stream.echo),
            await stream.serve(record, GREET_PORT, stream.greet),
            await stream.serve(record, RAW_PORT, stream.show_head),
        ]
        await asyncio.gather(*(_listens(port) for port in HTTP_PORTS))
        ready.touch()
        await end.wait()
        await grpc.stop(0)
        for server in servers:
            server.close()


async def _listens(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            return


if __name__ == "__main__":
    asyncio.run(serve(Record(Path(sys.argv[1])), Path(sys.argv[2])))
