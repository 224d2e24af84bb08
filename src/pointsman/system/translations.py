"""Edge to the kernel's table of translated connections (conntrack): what a captured connection is on its other side.

An application's end and the proxy's end of one connection need not name the same port: where the addresses and ports
that a redirect leads to are taken, be it by a connection that has just ended, the kernel gives it another source port.
"""

import socket
from ipaddress import ip_address
from typing import Any

from pointsman.model.fault import Fault
from pointsman.system import connections

End = tuple[str, int]
_NO_SUCH = 2  # ENOENT


def redirected_to(local: End, remote: End) -> End | None:
    """Return where a connection of this host really leads that goes from `local` to `remote` by its own account.

    None where nothing is known of it; `remote` itself where nothing leads it elsewhere.
    """
    told = _ask("tuple_orig", local, remote)
    return told[1][0] if told else None


def caller_of(local: End, remote: End) -> tuple[End, End] | None:
    """Return both ends, by its caller's account, of a connection that came to `local` from `remote`, if it is known."""
    told = _ask("tuple_reply", local, remote)
    return told[0] if told else None


def owner(source: End, destination: End) -> int | None:
    """Return the user id behind a connection that the proxy has accepted, None where nobody holds it.

    `source` is who the proxy says has called, `destination` where the caller wanted to go.
    """
    found = connections.owner(source, destination)
    if found is not None or redirected_to(source, destination) is not None:
        return found  # by these very ends it was begun: who called is known, or gone
    for one in connections.standing():
        if (one.remote, one.remote_port) == source and not one.leaves:
            called = caller_of((one.local, one.local_port), source)
            if called is not None and called[1] == destination:
                return connections.owner(*called)
    return None


def _ask(by: str, source: End, destination: End) -> tuple[tuple[End, End], tuple[End, End]] | None:
    """Return the connection as it was begun, and as its answers come: each from where to where."""
    # loaded here: it takes a quarter of a second, and is hardly ever needed
    from pyroute2 import NFCTSocket
    from pyroute2.netlink.exceptions import NetlinkError
    from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple

    family = socket.AF_INET if ip_address(source[0]).version == 4 else socket.AF_INET6
    wanted = NFCTAttrTuple(family, source[0], destination[0], socket.IPPROTO_TCP, source[1], destination[1])
    try:
        with NFCTSocket(nfgen_family=family) as kernel:
            answers = kernel.entry("get", **{by: wanted})
    except (OSError, NetlinkError) as error:
        if getattr(error, "code", None) == _NO_SUCH:
            return None
        raise Fault("translations", "ask for a translated connection", str(error)) from error
    for answer in answers:
        begun = NFCTAttrTuple.from_netlink(family, answer.get_attr("CTA_TUPLE_ORIG"))
        replies = NFCTAttrTuple.from_netlink(family, answer.get_attr("CTA_TUPLE_REPLY"))
        return _ends(begun), _ends(replies)
    return None


def _ends(told: Any) -> tuple[End, End]:
    return (str(ip_address(told.saddr)), told.sport), (str(ip_address(told.daddr)), told.dport)
