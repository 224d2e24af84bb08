"""The edge to routes, rules and links. It sees and touches only what carries our protocol number and table range."""

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from socket import AF_INET, AF_INET6
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from pointsman.model.fault import Fault
from pointsman.model.routing import FAMILIES, PROTOCOL, TABLES, Bound, Drop, Family, Put, Route, Routing, Rule, Step

_UNICAST = 1
_UNREACHABLE = 7
_FAMILY = {4: AF_INET, 6: AF_INET6}
_THERE_ALREADY = frozenset({errno.EEXIST})
_NO_WAY = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL})
_GONE_ALREADY = frozenset({errno.ENOENT, errno.ESRCH, errno.ENODEV})


@dataclass(frozen=True, slots=True)
class Link:
    """One network device: its name, whether it is up, and its addresses without prefix length."""

    name: str
    up: bool
    addresses: tuple[str, ...]


def observe_routing() -> Routing:
    """Return the routes and rules of ours that the kernel has now."""
    with _netlink("read routes and rules") as kernel:
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in kernel.get_links()}
        routes = [route for family in FAMILIES for route in _routes(kernel, family, names)]
        rules = [rule for family in FAMILIES for rule in _rules(kernel, family)]
    return Routing(frozenset(routes), frozenset(rules))


def observe_links() -> tuple[Link, ...]:
    """Return all devices but `lo`, in order of name."""
    with _netlink("read devices") as kernel:
        addresses: dict[int, list[str]] = {}
        for item in kernel.get_addr():
            addresses.setdefault(item["index"], []).append(item.get_attr("IFA_ADDRESS"))
        links = [
            Link(link.get_attr("IFLA_IFNAME"), bool(link["flags"] & 1), tuple(sorted(addresses.get(link["index"], ()))))
            for link in kernel.get_links()
        ]
    return tuple(sorted((link for link in links if link.name != "lo"), key=lambda link: link.name))


def ways_of(packets: Iterable[tuple[int, str]], uid: int) -> tuple[str, ...]:
    """Return by which device a packet of this user with each mark to each address would leave; empty where by none.

    The kernel answers from its rules and routes, whoever made them. What a socket is bound to comes on top.
    """
    found = []
    with _netlink("ask for routes") as kernel:
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in kernel.get_links()}
        for mark, address in packets:
            try:
                [answer] = kernel.route("get", dst=address, mark=mark, uid=uid)
                found.append(names.get(answer.get_attr("RTA_OIF"), "?"))
            except NetlinkError as error:
                if error.code not in _NO_WAY:
                    raise
                found.append("")
    return tuple(found)


def apply_routing(steps: Iterable[Step]) -> tuple[tuple[Step, Fault], ...]:
    """Carry out the steps in order and return those that failed: one stuck tunnel does not hold up the others.

    Adding what is there and removing what is gone are no faults.
    """
    steps = tuple(steps)
    stuck: list[tuple[Step, Fault]] = []
    if not steps:
        return ()
    with _netlink("change routes and rules") as kernel:
        for step in steps:
            try:
                _apply(kernel, step)
            except Fault as fault:
                stuck.append((step, fault))
    return tuple(stuck)


def reach(networks: Iterable[str], device: str) -> None:
    """Route these networks to a device in the main table, and no others of ours; what is there already stays."""
    wanted = {str(ip_network(text)) for text in networks}
    with _netlink(f"route to `{device}`") as kernel:
        [index] = kernel.link_lookup(ifname=device) or [0]
        if not index:
            raise Fault("device-missing", f"route to `{device}`", "it is not there")
        found = {f"{r.get_attr('RTA_DST')}/{r['dst_len']}" for r in kernel.get_routes(oif=index, proto=PROTOCOL)}
        for network in wanted - found:
            kernel.route("replace", dst=network, oif=index, proto=PROTOCOL)
        for network in found - wanted:
            kernel.route("del", dst=network, oif=index, proto=PROTOCOL)


def _apply(kernel: IPRoute, step: Step) -> None:
    tried = f"{'put' if isinstance(step, Put) else 'drop'} {step.part}"
    try:
        _carry_out(kernel, step)
    except NetlinkError as error:
        if error.code not in (_THERE_ALREADY if isinstance(step, Put) else _GONE_ALREADY):
            raise Fault("route-refused", tried, str(error)) from error
    except _GoneError as gone:
        if isinstance(step, Put):
            raise Fault("device-missing", tried, f"there is no device `{gone}`") from None


def _carry_out(kernel: IPRoute, step: Step) -> None:
    match step:
        case Put(Route() as route):
            kernel.route("replace" if route.device else "add", **_route(kernel, route))
        case Put(Rule() | Bound() as rule):
            kernel.rule("add", **_rule(rule))
        case Drop(Route() as route):
            kernel.route("del", **_route(kernel, route))
        case Drop(Rule() | Bound() as rule):
            kernel.rule("del", **_rule(rule))


class _GoneError(Exception):
    pass


def _route(kernel: IPRoute, route: Route) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "family": _FAMILY[route.family],
        "table": route.table,
        "dst": "default",
        "priority": route.metric,
        "proto": PROTOCOL,
    }
    if not route.device:
        return spec | {"type": "unreachable"}
    found = kernel.link_lookup(ifname=route.device)
    if not found:
        raise _GoneError(route.device)
    return spec | {"oif": found[0]}


def _rule(rule: Rule | Bound) -> dict[str, Any]:
    spec = {
        "family": _FAMILY[rule.family],
        "priority": rule.preference,
        "table": rule.table,
        "protocol": PROTOCOL,
    }
    if isinstance(rule, Bound):
        return spec | {"oifname": rule.device}
    return spec | {"fwmark": rule.mark, "fwmask": rule.mask}


def _routes(kernel: IPRoute, family: Family, names: dict[int, str]) -> Iterator[Route]:
    for item in kernel.get_routes(family=_FAMILY[family], proto=PROTOCOL):
        table = item.get_attr("RTA_TABLE") or item["table"]
        if item["proto"] != PROTOCOL or table not in TABLES or item["dst_len"]:
            continue
        if item["type"] == _UNREACHABLE:
            yield Route(table, family, "", item.get_attr("RTA_PRIORITY") or 0)
        elif item["type"] == _UNICAST:
            device = names.get(item.get_attr("RTA_OIF"), "?")
            yield Route(table, family, device, item.get_attr("RTA_PRIORITY") or 0)


def _rules(kernel: IPRoute, family: Family) -> Iterator[Rule | Bound]:
    for item in kernel.get_rules(family=_FAMILY[family]):
        if item.get_attr("FRA_PROTOCOL") != PROTOCOL:
            continue
        preference, table = item.get_attr("FRA_PRIORITY") or 0, item.get_attr("FRA_TABLE") or item["table"]
        device = item.get_attr("FRA_OIFNAME")
        if device:
            yield Bound(preference, family, device, table)
        else:
            mark, mask = item.get_attr("FRA_FWMARK") or 0, item.get_attr("FRA_FWMASK") or 0
            yield Rule(preference, family, mark, mask, table)


@contextmanager
def _netlink(tried: str) -> Iterator[IPRoute]:
    try:
        with IPRoute() as kernel:
            yield kernel
    except (NetlinkError, OSError) as error:
        raise Fault("netlink-failed", tried, str(error)) from error
