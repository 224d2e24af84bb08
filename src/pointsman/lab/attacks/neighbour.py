"""Somebody on the instance's local network, run on the router: `python neighbour.py KIND …`, one line out.

`advertise` sends a router advertisement with a prefix of its own; `arp ADDRESS` asks who has an address and says
whether an answer came; `syn ADDRESS` sends a SYN/ACK to an address on the instance's card; `class ADDRESS` tells the
DSCP of what goes to an address; `knock ADDRESS PORT…` tells which TCP ports are open.
"""

import select
import socket
import struct
import sys
import time

PORT = "instance"  # the router's end of the instance's cable
BRIDGE = "lan"
ALL = 3  # on a port of a bridge, only who listens to all protocols hears anything


def advertise(*_: str) -> str:
    """Send a router advertisement: default route, the prefix 2001:db8:bad::/64, a name server."""
    prefix = socket.inet_pton(socket.AF_INET6, "2001:db8:bad::")
    server = socket.inet_pton(socket.AF_INET6, "2001:db8:bad::53")
    options = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 1800, 1800, 0) + prefix
    options += struct.pack("!BBHI", 25, 3, 0, 1800) + server
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as out:
        out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex(BRIDGE))
        out.sendto(struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + options, ("ff02::1", 0))
    return "sent"


def arp(*words: str) -> str:
    """Ask who has an address, on the instance's cable."""
    address, mac = words
    own = b"\x02\x00\x00\x00\x0b\xad"
    asked = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + own + socket.inet_aton("192.0.2.1") + bytes(6)
    frame = bytes.fromhex(mac.replace(":", "")) + own + b"\x08\x06" + asked + socket.inet_aton(address)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL)) as line:
        line.bind((PORT, ALL))
        line.send(frame)
        return _await(
            line,
            lambda data: (
                data[12:14] == b"\x08\x06" and data[20:22] == b"\x00\x02" and data[28:32] == socket.inet_aton(address)
            ),
        )


def syn(*words: str) -> str:
    """Send a SYN/ACK to an address, to the instance's card."""
    address, mac = words
    source = socket.inet_aton("198.51.100.81")
    tcp = struct.pack("!HHIIBBHHH", 80, 40000, 1, 1, 0x50, 0x12, 65535, 0, 0)
    pseudo = source + socket.inet_aton(address) + struct.pack("!BBH", 0, 6, len(tcp))
    tcp = tcp[:16] + struct.pack("!H", _sum(pseudo + tcp)) + tcp[18:]
    head = struct.pack("!BBHHHBBH", 0x45, 0, 40, 1, 0, 64, 6, 0) + source + socket.inet_aton(address)
    head = head[:10] + struct.pack("!H", _sum(head)) + head[12:]
    frame = bytes.fromhex(mac.replace(":", "")) + b"\x02\x00\x00\x00\x0b\xad" + b"\x08\x00" + head + tcp
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL)) as line:
        line.bind((PORT, ALL))
        line.send(frame)
        return _await(
            line, lambda data: data[12:14] == b"\x08\x00" and data[26:30] == socket.inet_aton(address) and data[23] == 6
        )


def class_of(*words: str) -> str:
    """Tell the DSCP of the TCP packets that go to an address, of those of three seconds."""
    target = socket.inet_aton(words[0])
    seen = set()
    until = time.monotonic() + 3
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL)) as line:
        line.bind((PORT, ALL))
        line.settimeout(0.1)
        while time.monotonic() < until:
            try:
                data, sender = line.recvfrom(65536)
            except TimeoutError:
                continue
            if data[12:14] == b"\x08\x00" and data[30:34] == target and data[23] == 6 and sender[2] != 4:
                seen.add(data[15] >> 2)
    return " ".join(f"{found}" for found in sorted(seen)) or "nothing"


def knock(*words: str) -> str:
    """Tell which of these ports take a connection within a second."""
    lines = {}
    for port in words[1:]:
        line = socket.socket()
        line.setblocking(False)
        line.connect_ex((words[0], int(port)))
        lines[line] = port
    time.sleep(1)
    _, ready, _ = select.select([], list(lines), [], 0)
    found = [lines[line] for line in ready if line.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0]
    return " ".join(found) or "none"


def _await(line: socket.socket, fits: "object") -> str:
    until = time.monotonic() + 0.7
    line.settimeout(0.1)
    while time.monotonic() < until:
        try:
            data, sender = line.recvfrom(65536)
        except TimeoutError:
            continue
        if sender[2] != 4 and callable(fits) and fits(data):
            return "answered"
    return "silent"


def _sum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


if __name__ == "__main__":
    run = {"advertise": advertise, "arp": arp, "syn": syn, "class": class_of, "knock": knock}[sys.argv[1]]
    sys.stdout.write(run(*sys.argv[2:]) + "\n")
