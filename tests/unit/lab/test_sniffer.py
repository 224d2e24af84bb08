import struct
from ipaddress import ip_address

import pytest

from pointsman.lab.sniffer import _describe

ETHERNET = b"\x02" * 12


def v4(protocol: int, payload: bytes, fragment: int = 0, options: bytes = b"") -> bytes:
    words = 5 + len(options) // 4
    head = struct.pack(">BBHHHBBH", 0x40 | words, 0, 20 + len(options) + len(payload), 0, fragment, 64, protocol, 0)
    return (
        ETHERNET
        + b"\x08\x00"
        + head
        + ip_address("192.0.2.10").packed
        + ip_address("198.51.100.80").packed
        + options
        + payload
    )


def v6(following: int, payload: bytes) -> bytes:
    head = struct.pack(">IHBB", 6 << 28, len(payload), following, 64)
    return (
        ETHERNET
        + b"\x86\xdd"
        + head
        + ip_address("2001:db8:1::10").packed
        + ip_address("2001:db8:2::80").packed
        + payload
    )


PORTS = struct.pack(">HH", 40000, 443) + bytes(16)
V4 = ("192.0.2.10", "198.51.100.80")
V6 = ("2001:db8:1::10", "2001:db8:2::80")


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (v4(6, PORTS), ("tcp", *V4, 443)),
        (v4(17, PORTS), ("udp", *V4, 443)),
        (v4(17, PORTS, options=bytes(8)), ("udp", *V4, 443)),
        (v4(17, PORTS, fragment=185), ("udp", *V4, 0)),
        (v4(136, PORTS), ("protocol-136", *V4, 443)),
        (v4(132, PORTS), ("protocol-132", *V4, 0)),
        (v4(1, b"\x08\x00"), ("icmp", *V4, 0)),
        (v6(6, PORTS), ("tcp", *V6, 443)),
        (v6(58, b"\x80\x00"), ("icmpv6", *V6, 0)),
        (v6(58, b"\x87\x00"), ("nd", *V6, 0)),
        (ETHERNET + b"\x08\x06" + bytes(28), ("arp", "", "", 0)),
        (ETHERNET + b"\x88\xb5" + b"x", ("ethertype-88b5", "", "", 0)),
        (ETHERNET + b"\x08\x00\x45", ("broken-0800", "", "", 0)),
        (b"", ("ethertype-0000", "", "", 0)),
    ],
)
def test_a_frame_is_told_by_protocol_addresses_and_port(frame: bytes, said: tuple[str, str, str, int]) -> None:
    assert _describe(frame) == said
