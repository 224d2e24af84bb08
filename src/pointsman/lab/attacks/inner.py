"""Inner packets that a gateway makes up: `python inner.py send DEVICE TARGET` there, `take DEVICE` on the instance.

Sent: connections to ports on which somebody listens on all addresses, from the gateway's own address and with sources
of others; datagrams; echo requests.
"""

import json
import select
import socket
import struct
import sys

PORT = 8099
LOOPBACK = "127.0.0.1"
SOURCES = ("10.71.0.1", "198.51.100.81", "192.0.2.1", "127.0.0.1", "10.72.0.1")
SENT = len(SOURCES) * 3


def take(device: str) -> None:
    """Listen on all addresses until the input ends; say what was seen on the device, taken, and answered into it."""
    tcp = socket.create_server(("", PORT), backlog=50)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("", PORT))
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    wire.bind((device, 3))
    local = socket.create_connection((LOOPBACK, PORT))  # somebody does listen
    tcp.accept()[0].close()
    local.close()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    found = {"seen": 0, "taken": 0, "answered": 0}
    while True:
        ready = select.select([tcp, udp, wire, sys.stdin], [], [], 5)[0]
        if tcp in ready:
            found["taken"] += 1
            tcp.accept()[0].close()
        if udp in ready:
            found["taken"] += 1
            udp.recv(2048)
        if wire in ready:
            data, sender = wire.recvfrom(65536)
            ports = data[20:24]
            ours = data[:1] == b"\x45" and (data[9] == 1 or struct.pack("!H", PORT) in (ports[:2], ports[2:]))
            echo = data[9:10] == b"\x01" and data[24:28] != struct.pack("!HH", PORT, 1)
            if ours and not echo:
                found["answered" if sender[2] == socket.PACKET_OUTGOING else "seen"] += 1
        elif sys.stdin in ready:
            break
    sys.stdout.write(json.dumps(found))


def send(device: str, target: str) -> None:
    """Send all of it."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800)) as out:
        for source in SOURCES:
            for packet in (
                _packet(source, target, 6, _tcp(source, target)),
                _packet(source, target, 17, _udp()),
                _packet(source, target, 1, _echo()),
            ):
                out.sendto(packet, (device, 0x0800))


def _packet(source: str, target: str, protocol: int, content: bytes) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(content), 1, 0, 64, protocol, 0)
    head += socket.inet_aton(source) + socket.inet_aton(target)
    return head[:10] + struct.pack("!H", _sum(head)) + head[12:] + content


def _tcp(source: str, target: str) -> bytes:
    segment = struct.pack("!HHIIBBHHH", 40000, PORT, 1, 0, 0x50, 0x02, 65535, 0, 0)
    pseudo = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack("!BBH", 0, 6, len(segment))
    return segment[:16] + struct.pack("!H", _sum(pseudo + segment)) + segment[18:]


def _udp() -> bytes:
    return struct.pack("!HHHH", 40000, PORT, 12, 0) + b"here"


def _echo() -> bytes:
    asked = struct.pack("!BBHHH", 8, 0, 0, PORT, 1)
    return asked[:2] + struct.pack("!H", _sum(asked)) + asked[4:]


def _sum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(*sys.argv[2:])
    else:
        take(sys.argv[2])
