"""Edge to raw ICMP sockets: asks one address on one device for an echo (RFC 792, RFC 4443)."""

import socket
import struct
from ipaddress import ip_address

from pointsman.model.fault import Fault

NONCE = 16
_HEADER = struct.Struct("!BBHHH")
_ECHO_REQUEST, _ECHO_REPLY = 8, 0
_ECHO_REQUEST6, _ECHO_REPLY6 = 128, 129
_SOL_RAW, _ICMP_FILTER, _ICMP6_FILTER = 255, 1, 1  # linux/socket.h, linux/icmp.h, linux/icmpv6.h


class Line:
    """A socket that is bound to a device, sends echo requests to one address, and hears its replies alone."""

    def __init__(self, device: str, address: str, source: str = "") -> None:
        """Send from `source`, for a far end lets in nothing else; without it the kernel chooses, once and for good."""
        self._six = ip_address(address).version == 6
        family = socket.AF_INET6 if self._six else socket.AF_INET
        protocol = socket.IPPROTO_ICMPV6 if self._six else socket.IPPROTO_ICMP
        self._socket = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
            if self._six:
                passed = [0xFFFFFFFF] * 8
                passed[_ECHO_REPLY6 >> 5] ^= 1 << (_ECHO_REPLY6 & 31)
                self._socket.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("8I", *passed))
            else:
                self._socket.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("I", 0xFFFFFFFF ^ 1 << _ECHO_REPLY))
            if source:
                self._socket.bind((source, 0))
            self._socket.connect((address, 0))
        except OSError as error:
            self._socket.close()
            raise Fault("probe", f"probe `{address}` through `{device}`", str(error)) from error

    def fileno(self) -> int:
        """Return the descriptor, to wait for answers on."""
        return self._socket.fileno()

    def ask(self, nonce: bytes) -> bool:
        """Send a request with these bytes; return whether it left. If not, the device may be another one now."""
        kind = _ECHO_REQUEST6 if self._six else _ECHO_REQUEST
        packet = _HEADER.pack(kind, 0, 0, 0, 0) + nonce
        if not self._six:  # the kernel sums ICMPv6 alone
            packet = _HEADER.pack(kind, 0, checksum(packet), 0, 0) + nonce
        try:
            self._socket.send(packet)
        except OSError:
            return False
        return True

    def answers(self) -> list[bytes]:
        """Return the bytes that came back since the last call."""
        found = []
        while (packet := self._read()) is not None:
            start = 0 if self._six else (packet[0] & 0x0F) * 4
            if len(packet) == start + _HEADER.size + NONCE:
                found.append(packet[start + _HEADER.size :])
        return found

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _read(self) -> bytes | None:
        try:
            return self._socket.recv(256) or None
        except OSError:  # nothing more, or what went wrong on the way: either way no answer
            return None


def checksum(packet: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
