"""Ways of getting a packet out, one function each. `guard_probes.py NAME UID CANARY` becomes that user first.

Names ending in `_netraw` keep `CAP_NET_RAW`. A refusal by the kernel is not a failure of the probe.
"""

import ctypes
import os
import socket
import struct
import sys
from collections.abc import Callable

ORIGIN = {socket.AF_INET: "198.51.100.9", socket.AF_INET6: "2001:db8:2::9"}
OWN = "192.0.2.10"
SO_MARK, SO_BINDTODEVICE, PACKET_QDISC_BYPASS, MSG_FASTOPEN = 36, 25, 20, 0x20000000
LANE_MARK, OUTER_MARK = 0x00200000, 0x00100000
PROBES: dict[str, Callable[[bytes], None]] = {}


def probe(run: Callable[[bytes], None]) -> Callable[[bytes], None]:
    PROBES[run.__name__] = run
    return run


def _connect(family: int, address: str, port: int, canary: bytes, prepare: Callable[[socket.socket], None]) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as talk:
        talk.settimeout(1)
        prepare(talk)
        talk.connect((address, port))
        talk.sendall(canary)


def _nothing(_: socket.socket) -> None:
    pass


@probe
def tcp4(canary: bytes) -> None:
    _connect(socket.AF_INET, ORIGIN[socket.AF_INET], 9999, canary, _nothing)


@probe
def tcp6(canary: bytes) -> None:
    _connect(socket.AF_INET6, ORIGIN[socket.AF_INET6], 9999, canary, _nothing)


@probe
def tcp4_mapped(canary: bytes) -> None:
    _connect(socket.AF_INET6, "::ffff:" + ORIGIN[socket.AF_INET], 9999, canary, _nothing)


@probe
def tcp_captured_port(canary: bytes) -> None:
    _connect(socket.AF_INET, ORIGIN[socket.AF_INET], 80, canary, _nothing)


@probe
def tcp_bound_to_device(canary: bytes) -> None:
    def bind(talk: socket.socket) -> None:
        talk.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"eth0")

    _connect(socket.AF_INET, ORIGIN[socket.AF_INET], 80, canary, bind)


@probe
def tcp_fast_open(canary: bytes) -> None:
    with socket.socket() as talk:
        talk.sendto(canary, MSG_FASTOPEN, (ORIGIN[socket.AF_INET], 9999))


@probe
def mptcp(canary: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as talk:
        talk.settimeout(1)
        talk.connect((ORIGIN[socket.AF_INET], 9999))
        talk.sendall(canary)


@probe
def udp4(canary: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talk:
        for port in (53, 123, 443, 3478, 51820):
            _send(talk, canary, (ORIGIN[socket.AF_INET], port))


@probe
def udp6(canary: bytes) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as talk:
        for port in (53, 443, 51820):
            _send(talk, canary, (ORIGIN[socket.AF_INET6], port))


@probe
def udp_fragmented(canary: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talk:
        _send(talk, canary * (4000 // len(canary)), (ORIGIN[socket.AF_INET], 443))


@probe
def udp_to_tunnel_endpoint(canary: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talk:
        _send(talk, canary, ("192.0.2.21", 51820))
        _send(talk, canary, ("192.0.2.22", 51820))


@probe
def udp_in_the_shape_of_dhcp(canary: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talk:
        talk.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        talk.bind(("0.0.0.0", 68))
        _send(talk, canary, (ORIGIN[socket.AF_INET], 67))


@probe
def udp_lite(canary: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 136) as talk:
        _send(talk, canary, (ORIGIN[socket.AF_INET], 443))


@probe
def sctp_by_hand_netraw(canary: bytes) -> None:
    _raw_ip(132, canary)


@probe
def dccp_by_hand_netraw(canary: bytes) -> None:
    _raw_ip(33, canary)


@probe
def icmp_echo_netraw(canary: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as talk:
        head = struct.pack("!BBHHH", 8, 0, 0, 1, 1)
        _send(talk, head + canary, (ORIGIN[socket.AF_INET], 0))


@probe
def icmp_echo_reply_netraw(canary: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as talk:
        _send(talk, struct.pack("!BBHHH", 0, 0, 0, 1, 1) + canary, (ORIGIN[socket.AF_INET], 0))


@probe
def neighbour_discovery_by_hand_netraw(canary: bytes) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as talk:
        talk.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        talk.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
        _send(talk, bytes([136, 0, 0, 0, 0, 0, 0, 0]) + bytes(16) + canary, ("2001:db8:1::1", 0))


@probe
def raw_ip_netraw(canary: bytes) -> None:
    _raw_ip(17, struct.pack("!HHHH", 9, 443, 8 + len(canary), 0) + canary)


@probe
def multicast_and_broadcast(canary: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talk:
        talk.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        for place in (("255.255.255.255", 5353), ("224.0.0.251", 5353), ("239.255.255.250", 1900), ("192.0.2.255", 9)):
            _send(talk, canary, place)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as talk:
        _send(talk, canary, ("ff02::fb%eth0", 5353))


@probe
def on_the_local_net(canary: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talk:
        _send(talk, canary, ("192.0.2.1", 9))
    _connect(socket.AF_INET, "192.0.2.1", 9999, canary, _nothing)


@probe
def forged_mark_netraw(canary: bytes) -> None:
    for mark in (LANE_MARK, 0x00300000, OUTER_MARK):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talk:
            talk.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
            for place in ((ORIGIN[socket.AF_INET], 443), ("192.0.2.21", 51820), ("192.0.2.22", 51820)):
                _send(talk, canary, place)


@probe
def into_the_tunnel_netraw(canary: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talk:
        talk.setsockopt(socket.SOL_SOCKET, SO_MARK, LANE_MARK)
        talk.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"pma")
        _send(talk, canary, (ORIGIN[socket.AF_INET], 443))


@probe
def frames_netraw(canary: bytes) -> None:
    _frames("eth0", canary, 0x0800)


@probe
def frames_around_the_queue_netraw(canary: bytes) -> None:
    _frames("eth0", canary, 0x0800, bypass=True)


@probe
def frames_with_a_mark_netraw(canary: bytes) -> None:
    _frames("eth0", canary, 0x0800, mark=LANE_MARK)
    _frames("eth0", canary, 0x0800, mark=0x00300000)


@probe
def frames_of_other_types_netraw(canary: bytes) -> None:
    for kind in (0x86DD, 0x0806, 0x888E, 0x88B5, 0x8100, 0x0004):
        _frames("eth0", canary, kind)


@probe
def frames_into_the_tunnel_netraw(canary: bytes) -> None:
    _frames("pma", canary, 0x0800)


@probe
def orphaned_socket(canary: bytes) -> None:
    """Send into a full window to whoever listens, then go: what is left has no owner."""
    talk = socket.socket()
    talk.settimeout(1)
    talk.connect(("192.0.2.1", 9998))
    talk.setblocking(False)
    try:
        while True:
            talk.send(canary * 1000)
    except BlockingIOError:
        os._exit(0)


def _send(talk: socket.socket, data: bytes, place: tuple[str, int]) -> None:
    try:
        talk.sendto(data, place)
    except OSError as error:
        sys.stdout.write(f"refused: {error}\n")


def _ip(protocol: int, payload: bytes) -> bytes:
    source, target = socket.inet_aton(OWN), socket.inet_aton(ORIGIN[socket.AF_INET])
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0, source, target) + payload


def _raw_ip(protocol: int, payload: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as talk:
        _send(talk, _ip(protocol, payload), (ORIGIN[socket.AF_INET], 0))


def _frames(device: str, canary: bytes, kind: int, bypass: bool = False, mark: int = 0) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as talk:
        if bypass:
            talk.setsockopt(263, PACKET_QDISC_BYPASS, 1)
        if mark:
            talk.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
        talk.bind((device, 0))
        udp = struct.pack("!HHHH", 68, 67, 8 + len(canary), 0) + canary
        try:
            talk.send(b"\xff" * 6 + b"\x02\0\0\0\0\1" + struct.pack("!H", kind) + _ip(17, udp))
        except OSError as error:
            sys.stdout.write(f"refused: {error}\n")


def become(uid: int, netraw: bool) -> None:
    """Take on a user, with `CAP_NET_RAW` alone or with nothing."""
    if uid == 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(8, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    kept = 1 << 13 if netraw else 0
    head = (ctypes.c_uint32 * 2)(0x20080522, 0)
    if libc.capset(head, (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)):
        raise OSError(ctypes.get_errno(), "capset")


if __name__ == "__main__":
    name, uid, canary = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode()
    become(uid, name.endswith("_netraw"))
    try:
        PROBES[name](canary)
    except OSError as error:
        sys.stdout.write(f"refused: {error}\n")
