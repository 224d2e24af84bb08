"""The lab's DNS server: `python -m pointsman.lab.nameserver ZONE LOG READY ADDRESS…` serves until it is told to end.

It reads the zone file anew for every question; where there is none it stays silent. Answers that do not fit into a
datagram of 512 bytes are cut, to be asked for again over TCP.
"""

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

_PORT = 53
_LARGEST_DATAGRAM = 512
_FAMILIES = {"A": 4, "AAAA": 6}

Answer = Callable[[bytes, str], bytes]


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        wire = self._answer(data, "udp")
        if wire and self._transport is not None:
            self._transport.sendto(wire, addr)


async def _stream(answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            size = int.from_bytes(await reader.readexactly(2), "big")
            wire = answer(await reader.readexactly(size), "tcp")
            if not wire:
                break
            writer.write(len(wire).to_bytes(2, "big") + wire)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionResetError):
        pass
    finally:
        writer.close()


def respond(zone: Path, log: Path, asked: str, data: bytes, transport: str) -> bytes:
    """Return the answer to one question, by what the zone file says now; nothing where there is no such file."""
    query = dns.message.from_wire(data)
    question = query.question[0]
    name, kind = question.name.to_text(omit_final_dot=True).lower(), question.rdtype.name
    with log.open("a") as file:
        file.write(json.dumps({"asked": asked, "name": name, "type": kind, "transport": transport}) + "\n")
    try:
        entries = json.loads(zone.read_text())
    except FileNotFoundError:
        return b""
    response = dns.message.make_response(query)
    response.flags |= dns.flags.RA
    entry = entries.get(name)
    if entry is None:
        response.set_rcode(dns.rcode.NXDOMAIN)
    elif "rcode" in entry:
        response.set_rcode(dns.rcode.from_text(entry["rcode"]))
    else:
        found = [each for each in entry["addresses"] if ip_address(each).version == _FAMILIES.get(kind)]
        owner = question.name
        if "alias" in entry:
            response.answer.append(dns.rrset.from_text(owner, entry["ttl"], "IN", "CNAME", entry["alias"] + "."))
            owner = response.answer[0][0].target
        if found:
            response.answer.append(dns.rrset.from_text(owner, entry["ttl"], "IN", kind, *found))
    if transport == "tcp":
        return response.to_wire()
    return response.to_wire(max_size=_LARGEST_DATAGRAM, prefer_truncation=True)


async def serve(zone: Path, log: Path, ready: Path, addresses: list[str]) -> None:
    """Serve on these addresses until SIGTERM; the file `ready` appears when all listen."""
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for kind in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(kind, end.set)
    for address in addresses:
        answer = partial(respond, zone, log, address)
        await loop.create_datagram_endpoint(partial(_Datagrams, answer), local_addr=(address, _PORT))
        await asyncio.start_server(partial(_stream, answer), address, _PORT)
    ready.touch()
    await end.wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]))
