"""An independent witness on the wire: counts what passes the router's end of the instance's cable.

It runs as a process of its own, `python sniffer.py DEVICE SOCKET CANARY…` (canaries in hex), shares no code with
what it watches, and sees raw frames. On each connection to its Unix socket it takes in what is waiting and answers with
JSON: frames and canaries from the instance (`sent`) and to it (`received`), and how often each flow was seen.
`dropped` counts frames that it missed; a count with drops proves nothing.
"""

import json
import os
import select
import signal
import socket
import struct
import sys
from collections import Counter
from ipaddress import ip_address

ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_STATISTICS = 6
SO_RCVBUFFORCE = 33
PACKET_OUTGOING = 4
MOST_FLOWS = 10_000
Flow = tuple[str, str, str, str, int]


class Witness:
    """The counters, and the one place that reads a frame."""

    def __init__(self, device: str, canaries: list[bytes]) -> None:
        """Listen on a device of this namespace."""
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self._socket.bind((device, ETH_P_ALL))
        self._socket.setblocking(False)
        self._canaries = canaries
        self._dropped = 0
        self.frames = {"sent": 0, "received": 0}
        self.canaries = {way: dict.fromkeys((canary.hex() for canary in canaries), 0) for way in self.frames}
        self.flows: Counter[Flow] = Counter()

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._socket.fileno()

    def take_in(self, most: int) -> int:
        """Count at most this many waiting frames and return how many there were."""
        for number in range(most):
            try:
                frame, sender = self._socket.recvfrom(262144)
            except BlockingIOError:
                return number
            self._count("received" if sender[2] == PACKET_OUTGOING else "sent", frame)
        return most

    def counts(self) -> dict[str, object]:
        """Return everything counted so far."""
        _, dropped = struct.unpack("II", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        self._dropped += dropped  # the kernel starts anew after each look
        names = ("way", "protocol", "source", "destination", "port")
        flows = [{**dict(zip(names, flow, strict=True)), "frames": count} for flow, count in self.flows.items()]
        return {"frames": self.frames, "canaries": self.canaries, "flows": flows, "dropped": self._dropped}

    def _count(self, way: str, frame: bytes) -> None:
        self.frames[way] += 1
        for canary in self._canaries:
            if canary in frame:
                self.canaries[way][canary.hex()] += 1
        flow = (way, *_describe(frame))
        if flow in self.flows or len(self.flows) < MOST_FLOWS:
            self.flows[flow] += 1
        else:
            self.flows[(way, "other", "", "", 0)] += 1


def _describe(frame: bytes) -> tuple[str, str, str, int]:
    """Return protocol, source, destination and destination port; what cannot be read has the EtherType as protocol."""
    kind = int.from_bytes(frame[12:14], "big")
    try:
        if kind == 0x0800:
            head = 14 + (frame[14] & 15) * 4
            fragment = int.from_bytes(frame[20:22], "big") & 0x1FFF
            number, source, destination = frame[23], frame[26:30], frame[30:34]
        elif kind == 0x86DD:
            head, fragment = 54, 0
            number, source, destination = frame[20], frame[22:38], frame[38:54]
        else:
            return {0x0806: "arp"}.get(kind, f"ethertype-{kind:04x}"), "", "", 0
        port = int.from_bytes(frame[head + 2 : head + 4], "big") if number in (6, 17, 136) and not fragment else 0
        name = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}.get(number, f"protocol-{number}")
        if name == "icmpv6" and frame[head] in (133, 134, 135, 136):
            name = "nd"
        return name, str(ip_address(source)), str(ip_address(destination)), port
    except (IndexError, ValueError):
        return f"broken-{kind:04x}", "", "", 0


def watch(device: str, control: str, canaries: list[bytes]) -> None:
    """Count until SIGTERM and answer questions meanwhile."""
    witness = Witness(device, canaries)
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    door.bind(f"{control}.new")
    door.listen()
    os.rename(f"{control}.new", control)  # who sees it can connect
    poll = select.poll()
    poll.register(witness, select.POLLIN)
    poll.register(door, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if door.fileno() in ready:
            visitor, _ = door.accept()
            with visitor:
                while witness.take_in(10_000) == 10_000:
                    pass
                visitor.sendall(json.dumps(witness.counts()).encode())
        else:
            witness.take_in(1000)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watch(sys.argv[1], sys.argv[2], [bytes.fromhex(canary) for canary in sys.argv[3:]])
