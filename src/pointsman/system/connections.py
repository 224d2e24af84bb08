"""Edge to the kernel's socket table (sock_diag(7)): which TCP connections stand, and how to end them.

It speaks netlink itself: a dump of thousands of sockets is taken every second, and what it tells is read off in place.
"""

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache

from pointsman.model.connection import GONE, Connection
from pointsman.model.fault import Fault

# Numbers of linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h and net/tcp_states.h
_NETLINK_SOCK_DIAG, _BY_FAMILY, _DESTROY = 4, 20, 21
_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _DUMP = 0x01, 0x04, 0x300
_INFO, _MARK = 2, 15
_ESTABLISHED, _SYN_SENT, _FIN_WAIT1, _CLOSE_WAIT, _LAST_ACK, _CLOSING = 1, 2, 4, 8, 9, 11
_HEADER = struct.Struct("=IHHII")
_QUESTION = struct.Struct("=BBBxI48s")
_ANSWER = struct.Struct("=B3x48s4xIIII")
_IDENTITY = struct.Struct("!HH16s16s")
_BOUND = struct.Struct("=I")
_CODE = struct.Struct("=i")
_BYTES = struct.Struct("=QQ")  # acknowledged and received, 120 bytes into tcp_info
_LOOPBACK = 1
_ANY = b"\xff" * 8  # a cookie that fits each socket
_GONE = (errno.ENOENT, errno.ESTALE)


def standing() -> tuple[Connection, ...]:
    """Return all TCP connections that are being made, stand, or still have to send their end. Marks need root."""
    states = sum(1 << state for state in (_ESTABLISHED, _SYN_SENT, _FIN_WAIT1, _CLOSE_WAIT, _LAST_ACK, _CLOSING))
    question = (socket.IPPROTO_TCP, 1 << (_INFO - 1), states, bytes(48))
    try:
        with _netlink() as kernel:
            found = [
                _read(answer)
                for family in (socket.AF_INET, socket.AF_INET6)
                for answer in _answers(kernel, _BY_FAMILY, _DUMP, _QUESTION.pack(family, *question))
            ]
    except OSError as error:
        raise Fault("connections", "list the open connections", str(error)) from error
    return tuple(sorted(found))


def owner(local: tuple[str, int], remote: tuple[str, int]) -> int | None:
    """Return the user id behind a TCP connection between these ends, None where nobody holds it.

    It asks for this one alone, and costs the same however many there are.
    """
    try:
        ends = [ipaddress.ip_address(address) for address, _ in (local, remote)]
    except ValueError:
        return None
    family = socket.AF_INET if all(end.version == 4 for end in ends) else socket.AF_INET6
    identity = _IDENTITY.pack(local[1], remote[1], *(end.packed.ljust(16, b"\0") for end in ends))
    try:
        with _netlink() as kernel:
            # what is bound to a device is found by it alone; the only one on which a request can come in is loopback
            for index in (0, _LOOPBACK):
                bound = identity + _BOUND.pack(index)
                for answer in _answered(kernel, _QUESTION.pack(family, socket.IPPROTO_TCP, 0, 0, bound + _ANY)):
                    *_, uid, inode = _ANSWER.unpack_from(answer)
                    # a listener answers for ends that are not its own; what was closed has no inode, and is not root's
                    if answer[4:8] == identity[:4] and inode:
                        return int(uid)
    except OSError as error:
        raise Fault("connections", "ask for the owner of a connection", str(error)) from error
    return None


def reset(connections: Iterable[Connection]) -> int:
    """End these very connections with a reset on both sides (`SOCK_DESTROY`); return how many were still there."""
    ended = 0
    try:
        with _netlink() as kernel:
            for one in connections:
                question = _QUESTION.pack(one.handle[0], socket.IPPROTO_TCP, 0, 0xFFFFFFFF, one.handle[1:])
                try:
                    for _ in _answers(kernel, _DESTROY, _ACK, question):
                        pass
                except OSError as error:
                    if error.errno not in _GONE:
                        raise
                else:
                    ended += 1
    except OSError as error:
        raise Fault("connections", "reset connections", str(error)) from error
    return ended


def _netlink() -> socket.socket:
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG)
    kernel.bind((0, 0))
    return kernel


def _answers(kernel: socket.socket, kind: int, flags: int, question: bytes) -> Iterator[bytes]:
    """Yield what the kernel answers up to its end or acknowledgement; an error is an `OSError`."""
    kernel.send(_HEADER.pack(_HEADER.size + len(question), kind, _REQUEST | flags, 0, 0) + question)
    while True:
        data = kernel.recv(1 << 17)
        place = 0
        while place < len(data):
            length, answer, _, _, _ = _HEADER.unpack_from(data, place)
            content = data[place + _HEADER.size : place + length]
            if answer == _DONE:
                return
            if answer == _ERROR:
                code = -_CODE.unpack_from(content)[0]
                if code:
                    raise OSError(code, os.strerror(code))
                return
            yield content
            place += (length + 3) & ~3


def _answered(kernel: socket.socket, question: bytes) -> tuple[bytes, ...]:
    """Return what the kernel says of one socket, nothing where it is not there."""
    try:
        return tuple(_answers(kernel, _BY_FAMILY, _ACK, question))
    except OSError as error:
        if error.errno not in _GONE:
            raise
        return ()


def _read(answer: bytes) -> Connection:
    family, identity, _, _, uid, _ = _ANSWER.unpack_from(answer)
    local_port, remote_port, local, remote = _IDENTITY.unpack_from(identity)
    index = _BOUND.unpack_from(identity, _IDENTITY.size)[0]
    mark, acknowledged, received = 0, 0, 0
    place = _ANSWER.size
    while place + 4 <= len(answer):
        length, kind = struct.unpack_from("=HH", answer, place)
        if kind == _MARK:
            mark = _BOUND.unpack_from(answer, place + 4)[0]
        elif kind == _INFO and length >= 4 + 120 + _BYTES.size:
            acknowledged, received = _BYTES.unpack_from(answer, place + 4 + 120)
        place += (length + 3) & ~3
    device = _device(index) if index else ""
    ends = (_address(family, local), local_port, _address(family, remote), remote_port)
    return Connection(*ends, uid, device, mark, acknowledged, received, bytes([family]) + identity)


def _device(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"{GONE}{index}"


@lru_cache(maxsize=4096)
def _address(family: int, raw: bytes) -> str:
    if family == socket.AF_INET:
        return socket.inet_ntop(family, raw[:4])
    mapped = ipaddress.IPv6Address(raw).ipv4_mapped
    return str(mapped) if mapped else socket.inet_ntop(family, raw)
