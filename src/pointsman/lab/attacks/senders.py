"""Ways of getting a packet out, one function each. Each line of input, `NAME UID CANARY`, is one try by that user.

Names ending in `_netraw` keep `CAP_NET_RAW`, all others nothing. The line that answers says what the kernel or
the other side did; a refusal is no failure, and an empty line ends each answer. Needs nothing but the standard library.
"""

import ctypes
import encodings.idna  # noqa: F401 -- a socket loads it late, when the user may not read the interpreter's files
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable

# No destination of the policy has these addresses.
STRANGER4, STRANGER6 = "198.51.100.82", "2001:db8:2::82"
API = "198.51.100.81"
OWN4, OWN6, ROUTER4, ROUTER6 = "192.0.2.10", "2001:db8:1::10", "192.0.2.1", "2001:db8:1::1"
GATEWAY = "192.0.2.21"
HTTP, CAPTURED_TCP, UNCAPTURED, WIREGUARD = 80, 7000, 7001, 51820
SO_SNDTIMEO, SO_BINDTODEVICE, SO_MARK, SOL_PACKET, PACKET_QDISC_BYPASS, MSG_FASTOPEN = 21, 25, 36, 263, 20, 0x20000000
IPPROTO_UDPLITE, IPPROTO_MPTCP = 136, 262
MARKS = tuple(index << 20 for index in range(1, 7))
SENDERS: dict[str, Callable[[bytes], str]] = {}


def sender(run: Callable[[bytes], str]) -> Callable[[bytes], str]:
    """Register a way out under its name."""
    SENDERS[run.__name__] = run
    return run


@sender
def tcp4(canary: bytes) -> str:
    """Speak HTTP to an address that no rule names."""
    return _http(socket.AF_INET, STRANGER4, canary)


@sender
def tcp6(canary: bytes) -> str:
    """Do it over IPv6."""
    return _http(socket.AF_INET6, STRANGER6, canary)


@sender
def tcp4_mapped(canary: bytes) -> str:
    """Do it over an IPv6 socket with a mapped IPv4 address."""
    return _http(socket.AF_INET6, f"::ffff:{STRANGER4}", canary)


@sender
def tcp_other_port(canary: bytes) -> str:
    """Go to a port that is not captured."""
    return _stream(socket.AF_INET, STRANGER4, UNCAPTURED, canary)


@sender
def tcp6_other_port(canary: bytes) -> str:
    """Go to a port that is not captured, over IPv6."""
    return _stream(socket.AF_INET6, STRANGER6, UNCAPTURED, canary)


@sender
def tcp_not_http(canary: bytes) -> str:
    """Speak something else to a captured port."""
    return _stream(socket.AF_INET, STRANGER4, CAPTURED_TCP, canary)


@sender
def tcp_to_the_api_not_http(canary: bytes) -> str:
    """Speak something else to an address that HTTP may go to."""
    return _stream(socket.AF_INET, API, CAPTURED_TCP, canary)


@sender
def tcp_fast_open(canary: bytes) -> str:
    """Send data with the first packet."""
    with socket.socket() as talk:
        talk.setsockopt(socket.SOL_SOCKET, SO_SNDTIMEO, struct.pack("ll", 2, 0))
        talk.sendto(canary, MSG_FASTOPEN, (STRANGER4, UNCAPTURED))
        talk.sendto(canary, (STRANGER4, UNCAPTURED))
    return "sent"


@sender
def mptcp(canary: bytes) -> str:
    """Speak Multipath TCP."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as talk:
        return _say(talk, STRANGER4, UNCAPTURED, canary)


@sender
def tcp_bound_to_device(canary: bytes) -> str:
    """Bind the socket to the uplink."""
    with socket.socket() as talk:
        talk.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"eth0")
        return _say(talk, STRANGER4, HTTP, _request(canary))


@sender
def tcp_bound_to_the_tunnel(canary: bytes) -> str:
    """Bind the socket to whatever tunnel there is."""
    said = "no tunnel"
    for device in [name for _, name in socket.if_nameindex() if name not in ("lo", "eth0")] or ["eth0"]:
        with socket.socket() as talk:
            talk.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, device.encode())
            said = _tried(_say, talk, STRANGER4, HTTP, _request(canary))
    return said


@sender
def written_and_gone(canary: bytes) -> str:
    """Write and end at once: what is left in the socket has no owner."""
    talk = socket.create_connection((STRANGER4, UNCAPTURED), 2)
    talk.send(canary)
    sys.stdout.write("sent\n")
    sys.stdout.flush()
    os._exit(0)


@sender
def udp4(canary: bytes) -> str:
    """Send datagrams to the ports of DNS, NTP, QUIC, STUN and others."""
    return _datagrams(socket.AF_INET, 0, canary, [(STRANGER4, port) for port in (53, 123, 443, 3478, 853, 40123)])


@sender
def udp6(canary: bytes) -> str:
    """Do it over IPv6."""
    return _datagrams(socket.AF_INET6, 0, canary, [(STRANGER6, port) for port in (53, 123, 443, 3478, 853, 40123)])


@sender
def udp_fragmented(canary: bytes) -> str:
    """Send a datagram that has to be cut."""
    return _datagrams(socket.AF_INET, 0, canary * 200, [(STRANGER4, 443)])


@sender
def udp_lite(canary: bytes) -> str:
    """Speak UDP-Lite."""
    return _datagrams(socket.AF_INET, IPPROTO_UDPLITE, canary, [(STRANGER4, 443)])


@sender
def udp_to_a_gateway(canary: bytes) -> str:
    """Go where the tunnel daemons go."""
    return _datagrams(socket.AF_INET, 0, canary, [(GATEWAY, WIREGUARD), ("192.0.2.23", 1194)])


@sender
def udp_to_the_router(canary: bytes) -> str:
    """Ask the router for a name, by DNS, and by its newer ways."""
    return _datagrams(socket.AF_INET, 0, canary, [(ROUTER4, port) for port in (53, 853, 5353, 67)])


@sender
def multicast_and_broadcast(canary: bytes) -> str:
    """Ask everybody: mDNS, SSDP, LLMNR, broadcast."""
    places = [("255.255.255.255", 5353), ("224.0.0.251", 5353), ("239.255.255.250", 1900), ("224.0.0.252", 5355)]
    said = _datagrams(socket.AF_INET, 0, canary, [*places, ("192.0.2.255", 9)])
    return f"{said}; {_datagrams(socket.AF_INET6, 0, canary, [('ff02::fb%eth0', 5353), ('ff02::1%eth0', 9)])}"


@sender
def ping_socket(canary: bytes) -> str:
    """Send an echo request from a socket that needs no privilege."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as talk:
        return _tried(talk.sendto, struct.pack("!BBHHH", 8, 0, 0, 1, 1) + canary, (STRANGER4, 0))


@sender
def icmp_netraw(canary: bytes) -> str:
    """Send echo requests and replies by hand."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as talk:
        for kind in (8, 0):
            said = _tried(talk.sendto, struct.pack("!BBHHH", kind, 0, 0, 1, 1) + canary, (STRANGER4, 0))
    return said


@sender
def neighbour_discovery_netraw(canary: bytes) -> str:
    """Send a neighbour advertisement by hand."""
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as talk:
        talk.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
        return _tried(talk.sendto, bytes([136, 0, 0, 0, 0, 0, 0, 0]) + bytes(16) + canary, (ROUTER6, 0))


@sender
def sctp_netraw(canary: bytes) -> str:
    """Send SCTP by hand."""
    return _raw(132, canary)


@sender
def dccp_netraw(canary: bytes) -> str:
    """Send DCCP by hand."""
    return _raw(33, canary)


@sender
def raw_udp_netraw(canary: bytes) -> str:
    """Send a whole IP packet by hand."""
    return _raw(17, struct.pack("!HHHH", 9, 443, 8 + len(canary), 0) + canary)


@sender
def forged_marks_netraw(canary: bytes) -> str:
    """Set the marks of lanes and of outer packets."""
    places = [(STRANGER4, 443), (GATEWAY, WIREGUARD), ("192.0.2.22", WIREGUARD)]
    said = "no mark could be set"
    for mark in (*MARKS, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talk:
            talk.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
            for place in places:
                said = _tried(talk.sendto, canary, place)
    return said


@sender
def frames_netraw(canary: bytes) -> str:
    """Send Ethernet frames, with and without marks, of several types, around the queue."""
    kinds = (0x0800, 0x86DD, 0x0806, 0x88B5, 0x8100)
    said = [_frame(canary, kind) for kind in kinds]
    said += [_frame(canary, 0x0800, bypass=True), *(_frame(canary, 0x0800, mark=mark) for mark in MARKS)]
    return said[-1]


@sender
def frames_8021x_netraw(canary: bytes) -> str:
    """Send an 802.1X frame."""
    return _frame(canary, 0x888E)


@sender
def socket_of_root(canary: bytes) -> str:
    """Use a socket that root has opened, after becoming somebody else: it is root's for the kernel."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talk, socket.socket() as stream:
        become(2001, netraw=False)
        _tried(talk.sendto, canary, (STRANGER4, 443))
        return _say(stream, STRANGER4, HTTP, _request(canary))


@sender
def as_the_proxy(canary: bytes) -> str:
    """Run as the proxy's user, without a mark."""
    _tried(_datagrams, socket.AF_INET, 0, canary, [(STRANGER4, 443)])
    return _stream(socket.AF_INET, STRANGER4, UNCAPTURED, canary)


@sender
def as_the_tunnels(canary: bytes) -> str:
    """Run as the tunnel daemons' user, towards other places than the gateways."""
    _tried(_datagrams, socket.AF_INET, 0, canary, [(STRANGER4, WIREGUARD), (GATEWAY, 53)])
    return _stream(socket.AF_INET, STRANGER4, UNCAPTURED, canary)


@sender
def forwarded(canary: bytes) -> str:
    """Send from a container behind this host: packets that no local user owns."""
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        _libc().unshare(0x40000000)
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        _datagrams(socket.AF_INET, 0, canary, [(STRANGER4, 443)])
        os._exit(0)
    try:
        os.read(ready[0], 1)
        with open("/proc/sys/net/ipv4/ip_forward", "r+") as knob:
            before = knob.read()
            knob.seek(0)
            knob.write("1")
        inside = ["nsenter", f"--net=/proc/{child}/ns/net"]
        for words in (
            ["ip", "link", "add", "forward0", "type", "veth", "peer", "name", "forward1", "netns", str(child)],
            ["ip", "address", "add", "10.99.0.1/24", "dev", "forward0"],
            ["ip", "link", "set", "forward0", "up"],
            [*inside, "ip", "address", "add", "10.99.0.2/24", "dev", "forward1"],
            [*inside, "ip", "link", "set", "forward1", "up"],
            [*inside, "ip", "route", "add", "default", "via", "10.99.0.1"],
        ):
            subprocess.run(words, check=True)
        os.write(go[1], b"x")
        os.waitpid(child, 0)
        time.sleep(0.3)
    finally:
        subprocess.run(["ip", "link", "delete", "forward0"], check=False, stderr=subprocess.DEVNULL)
        with open("/proc/sys/net/ipv4/ip_forward", "w") as knob:
            knob.write(before)
    return "sent"


def _request(canary: bytes) -> bytes:
    return b"GET /v1/x HTTP/1.1\r\nHost: 198.51.100.82\r\nx-canary: " + canary + b"\r\n\r\n"


def _http(family: int, address: str, canary: bytes) -> str:
    return _stream(family, address, HTTP, _request(canary))


def _stream(family: int, address: str, port: int, data: bytes) -> str:
    with socket.socket(family, socket.SOCK_STREAM) as talk:
        return _say(talk, address, port, data)


def _say(talk: socket.socket, address: str, port: int, data: bytes) -> str:
    talk.settimeout(1.5)
    talk.connect((address, port))
    talk.sendall(data)
    first = talk.recv(64).split(b"\r\n")[0].decode("latin-1")
    return f"answered `{first[:40]}`" if first else "closed"


def _datagrams(family: int, protocol: int, data: bytes, places: list[tuple[str, int]]) -> str:
    said = ""
    with socket.socket(family, socket.SOCK_DGRAM, protocol) as talk:
        talk.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        for place in places:
            said = _tried(talk.sendto, data, place)
    return said


def _raw(protocol: int, payload: bytes) -> str:
    source, target = socket.inet_aton(OWN4), socket.inet_aton(STRANGER4)
    packet = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0, source, target) + payload
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as talk:
        return _tried(talk.sendto, packet, (STRANGER4, 0))


def _frame(canary: bytes, kind: int, bypass: bool = False, mark: int = 0) -> str:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as talk:
        if bypass:
            talk.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        if mark:
            talk.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
        talk.bind(("eth0", 0))
        return _tried(
            talk.send, b"\xff" * 6 + b"\x02\0\0\0\0\1" + struct.pack("!H", kind) + b"\x45" + bytes(27) + canary
        )


def _tried(act: Callable[..., object], *words: object) -> str:
    try:
        said = act(*words)
    except OSError as error:
        return str(error.strerror or error).lower()
    return said if isinstance(said, str) else "sent"


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def become(uid: int, netraw: bool) -> None:
    """Take on a user, with `CAP_NET_RAW` alone or with nothing."""
    if uid == 0:
        return
    _libc().prctl(8, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    kept = 1 << 13 if netraw else 0
    head = (ctypes.c_uint32 * 2)(0x20080522, 0)
    if _libc().capset(head, (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)):
        raise OSError(ctypes.get_errno(), "capset")


def main() -> None:
    """Try one way out for each line `NAME UID CANARY`, each in a process of its own, and say what came of it."""
    for line in sys.stdin:
        name, uid, canary = line.split()
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            try:
                become(int(uid), name.endswith("_netraw"))
                sys.stdout.write(_tried(SENDERS[name], canary.encode()) + "\n")
            finally:
                sys.stdout.flush()
                os._exit(0)
        os.waitpid(child, 0)
        sys.stdout.write("\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
