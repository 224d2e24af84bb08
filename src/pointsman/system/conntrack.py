"""The edge to connection tracking."""

from collections.abc import Iterable

from pyroute2 import NFCTSocket
from pyroute2.netlink.exceptions import NetlinkError

from pointsman.model.fault import Fault

_WHOLE = 0xFFFFFFFF


def forget(marks: Iterable[int]) -> None:
    """Remove the entries of all connections with one of these marks; their next packets belong to nobody.

    Not to be called in the thread of an event loop: pyroute2 runs one of its own.
    """
    try:
        with NFCTSocket() as tracking:
            for mark in marks:
                tracking.flush(mark=mark, mark_mask=_WHOLE)
    except (OSError, NetlinkError) as error:
        raise Fault("conntrack", "forget the connections of a tunnel", str(error)) from error
