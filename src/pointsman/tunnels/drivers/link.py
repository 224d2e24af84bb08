"""The link of one tunnel in the network namespace that this process is in. No routes: those are the node's.

A link is ours if it is of a kind that we make, and has our name and our alias, or no alias yet. Addresses are set as
single hosts (/32, /128), so that no connected route appears and two tunnels may use the same inner network.
"""

import fcntl
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from pointsman.model.fault import Fault
from pointsman.tunnels.port import Berth, Link

_TUNSETIFF, _TUNSETPERSIST, _TUNSETOWNER = 0x400454CA, 0x400454CB, 0x400454CC
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
# no duplicate detection on a wire with two ends, and no route that the node did not set
_QUIET_ADDRESS = 0x02 | 0x200
_UP = 1
_KINDS = ("tun", "wireguard")
# What a neighbour on the other side may not change; loose reverse path, since routes hang on marks
_QUIET = (
    ("ipv4", "rp_filter", "2"),
    ("ipv4", "accept_redirects", "0"),
    ("ipv4", "send_redirects", "0"),
    ("ipv4", "arp_ignore", "2"),
    ("ipv6", "accept_ra", "0"),
    ("ipv6", "autoconf", "0"),
    ("ipv6", "accept_redirects", "0"),
    ("ipv6", "addr_gen_mode", "1"),
)


def look(name: str) -> Link | None:
    """Return the link of this name, or None."""
    with _netlink(f"look at link `{name}`") as ip:
        found = ip.link_lookup(ifname=name)
        if not found:
            return None
        [message] = ip.get_links(found[0])
        return _link(message, ip.get_addr(index=found[0]))


def look_at_all() -> dict[str, Link]:
    """Return all links by name, in two questions: with hundreds of them, one for each would take seconds."""
    with _netlink("look at all links") as ip:
        addresses: dict[int, list[Any]] = {}
        for answer in ip.get_addr():
            addresses.setdefault(answer["index"], []).append(answer)
        return {
            message.get_attr("IFLA_IFNAME"): _link(message, addresses.get(message["index"], ()))
            for message in ip.get_links()
        }


def dress(berth: Berth, addresses: Iterable[str], mtu: int) -> Link:
    """Give the link its alias, MTU, addresses and no others, and set it up; return it as it is then."""
    _owned(berth)
    for family, key, value in _QUIET:
        _sysctl(berth.link, family, key, value)
    wanted = set(addresses)
    tried = f"set up link `{berth.link}` of tunnel `{berth.name}`"
    with _netlink(tried) as ip:
        index = next(iter(ip.link_lookup(ifname=berth.link)), None)
        if index is None:
            raise Fault("tunnel-link", tried, "it is not there")
        ip.link("set", index=index, ifalias=berth.alias)
        ip.link("set", index=index, mtu=mtu)
        found = {
            (answer.get_attr("IFA_LOCAL") or answer.get_attr("IFA_ADDRESS")): answer["prefixlen"]
            for answer in ip.get_addr(index=index)
        }
        for address in sorted(wanted - found.keys()):
            length = 128 if ":" in address else 32
            ip.addr("add", index=index, address=address, prefixlen=length, IFA_FLAGS=_QUIET_ADDRESS)
        for address, length in found.items():
            if address not in wanted:
                ip.addr("del", index=index, address=address, prefixlen=length)
        ip.link("set", index=index, state="up")
    dressed = look(berth.link)
    if dressed is None:
        raise Fault("tunnel-link", tried, "it went away")
    return dressed


def dressed_as(link: Link, berth: Berth, addresses: Iterable[str], mtu: int) -> bool:
    """Say whether the link is as `dress` would leave it."""
    return (link.alias, link.mtu, link.up, link.addresses) == (berth.alias, mtu, True, tuple(sorted(addresses)))


def open_tun(berth: Berth, header: bool) -> int:
    """Make a tun link that lives as long as somebody holds the returned file open.

    `header` says whether each packet comes with four bytes of packet information, as wireguard-go expects.
    """
    flags = _IFF_TUN | (0 if header else _IFF_NO_PI)
    _owned(berth)
    try:
        handle = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise Fault("tunnel-link", "open `/dev/net/tun`", str(error)) from error
    try:
        fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH22x", berth.link.encode(), flags))
    except OSError as error:
        os.close(handle)
        raise Fault("tunnel-link", f"make link `{berth.link}` of tunnel `{berth.name}`", str(error)) from error
    return handle


def make_tun(berth: Berth) -> None:
    """Make a tun link that stays, and that the daemon's user may drive without any capability."""
    if look(berth.link) is not None:
        _owned(berth)
        return
    handle = open_tun(berth, header=False)
    try:
        # the alias comes first: a link that stays must say whose it is
        with _netlink(f"mark link `{berth.link}`") as ip:
            ip.link("set", index=socket.if_nametoindex(berth.link), ifalias=berth.alias)
        fcntl.ioctl(handle, _TUNSETOWNER, berth.uid)
        fcntl.ioctl(handle, _TUNSETPERSIST, 1)
    except OSError as error:
        raise Fault("tunnel-link", f"make link `{berth.link}` of tunnel `{berth.name}`", str(error)) from error
    finally:
        os.close(handle)


def add(berth: Berth, kind: str) -> bool:
    """Make a link of a kind that the kernel drives itself; False where this kernel does not have it."""
    from pyroute2.netlink.exceptions import NetlinkError

    if look(berth.link) is not None:
        _owned(berth)
        return True
    try:
        with _netlink(f"make link `{berth.link}` of tunnel `{berth.name}`", pass_on=True) as ip:
            ip.link("add", ifname=berth.link, kind=kind)
            ip.link("set", index=socket.if_nametoindex(berth.link), ifalias=berth.alias)
    except NetlinkError as error:
        if error.code in (95, 19):
            return False
        raise Fault("tunnel-link", f"make link `{berth.link}` of tunnel `{berth.name}`", str(error)) from error
    return True


def remove(berth: Berth) -> None:
    """Remove the link, if it is there and ours."""
    if berth.link and look(berth.link) is not None:
        _owned(berth)
        with _netlink(f"remove link `{berth.link}` of tunnel `{berth.name}`") as ip:
            for index in ip.link_lookup(ifname=berth.link):
                ip.link("del", index=index)


def traffic(name: str) -> tuple[int, int]:
    """Return the bytes that a link has received and sent."""
    with _netlink(f"look at link `{name}`") as ip:
        for index in ip.link_lookup(ifname=name):
            [message] = ip.get_links(index)
            counters = message.get_attr("IFLA_STATS64")
            return (counters["rx_bytes"], counters["tx_bytes"]) if counters else (0, 0)
    return (0, 0)


def _link(message: Any, answers: Iterable[Any]) -> Link:
    info = message.get_attr("IFLA_LINKINFO")
    addresses = [answer.get_attr("IFA_LOCAL") or answer.get_attr("IFA_ADDRESS") for answer in answers]
    return Link(
        index=message["index"],
        kind=(info.get_attr("IFLA_INFO_KIND") or "") if info else "",
        alias=message.get_attr("IFLA_IFALIAS") or "",
        mtu=message.get_attr("IFLA_MTU"),
        up=bool(message["flags"] & _UP),
        carrier=bool(message.get_attr("IFLA_CARRIER")),
        addresses=tuple(sorted(address for address in addresses if not ip_address(address).is_link_local)),
    )


def _owned(berth: Berth) -> None:
    link = look(berth.link)
    if link is not None and (link.alias not in ("", berth.alias) or link.kind not in _KINDS):
        why = f"it belongs to `{link.alias}`" if link.alias else f"it is a {link.kind or 'device'} of somebody else"
        raise Fault("tunnel-link", f"use link `{berth.link}` for tunnel `{berth.name}`", why)


def _sysctl(link: str, family: str, key: str, value: str) -> None:
    path = Path(f"/proc/sys/net/{family}/conf/{link}/{key}")
    try:
        if path.read_text("ascii").strip() != value:
            path.write_text(value, "ascii")
    except FileNotFoundError:
        return  # a kernel without this family has nothing to keep quiet
    except OSError as error:
        raise Fault("tunnel-link", f"write `{path}`", str(error)) from error


@contextmanager
def _netlink(tried: str, pass_on: bool = False) -> Iterator[Any]:
    # loaded here: it takes a quarter of a second, which most commands need not spend
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as ip:
            yield ip
    except NetlinkError as error:
        if pass_on:
            raise
        raise Fault("tunnel-link", tried, str(error)) from error
