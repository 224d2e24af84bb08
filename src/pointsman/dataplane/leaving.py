"""The guard's chains for what leaves: fast refusals in `output`, and the last word in `postrouting`.

In `output` the device is the one from before a redirect, so that only `postrouting` can hold; what it drops without a
refusal is what has no owner to tell.
"""

from pointsman.dataplane import treatment
from pointsman.dataplane.capture import Capture
from pointsman.dataplane.nftables import (
    FIRST,
    LATER,
    Chain,
    braced,
    comment,
    device,
    lane_counter,
    mark,
    ports,
    rules,
    users,
)
from pointsman.dataplane.ours import Ours
from pointsman.dataplane.queues import priority
from pointsman.dataplane.treatment import Treatment
from pointsman.model.routing import MASK, OUTER_MARK
from pointsman.model.tunnel import Lane

COUNTERS = (
    "refused_tcp",
    "refused_other",
    "dropped_owned",
    "dropped_proxy",
    "dropped_tunnel_user",
    "dropped_into_tunnel",
    "dropped_unattributed",
    "over_rate",
)

# Neighbour discovery with its own hop limit, router solicitation and multicast listener reports (RFC 4861, 2710, 3810).
_NEIGHBOURS = (
    "icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept",
    "icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report } ip6 hoplimit 1 accept",
)
# What the agent asks through a tunnel: 16 random bytes behind the headers (RFC 792, 4443).
_PROBES = (
    "meta skuid 0 icmp type echo-request ip length 44 ip daddr . oifname @probes4 accept",
    "meta skuid 0 icmpv6 type echo-request ip6 length 24 ip6 daddr . oifname @probes6 accept",
)
_PLAIN = Treatment("", 0, "0:0", None)


def chains(ours: Ours, capture: Capture) -> tuple[Chain, ...]:
    """Return the chains, the deciding one first."""
    return (
        _final(ours),
        _of_proxy(ours),
        *(_lane(ours, lane) for lane in ours.lanes),
        *_outer_dscp(ours),
        _of_tunnels(ours),
        _owned(ours),
        _unattributed(ours),
        _freed(ours),
        _refuse(ours, capture),
    )


def _final(ours: Ours) -> Chain:
    return Chain(
        "final",
        rules(
            f'oifname "lo" {ours.note_inside}',
            'oifname "lo" accept',
            f"meta skuid {ours.proxy} goto of_proxy",
            "meta nfproto @glass accept" if ours.glass else "",
            f"meta skuid {ours.tunnel} goto of_tunnels",
            "meta skuid >= 0 goto owned",
            "goto unattributed",
        ),
        f"type filter hook postrouting priority 300; policy {ours.held};",
    )


def _of_proxy(ours: Ours) -> Chain:
    return Chain(
        "of_proxy",
        rules(
            ours.by_mark("meta mark", "lane"),
            f"counter name dropped_proxy {ours.held}",
        ),
    )


def _lane(ours: Ours, lane: Lane) -> Chain:
    treated = ours.treated.get(lane.profile, _PLAIN)
    queue = priority(lane, MASK) if lane.device in ours.queued else ""
    return Chain(
        f"lane_{lane.mark:08x}",
        (
            f"oifname != {device(lane.device)} counter name dropped_proxy {ours.held} {comment(lane.cluster)}",
            f"ct mark set ct mark & {ours.rest} | {mark(lane.mark)}",
            *treatment.outbound(treated, ours.buckets.get(lane.profile, ""), queue),
            f"counter name {lane_counter(lane)} accept",
        ),
    )


def _outer_dscp(ours: Ours) -> tuple[Chain, ...]:
    """What gives outer packets their code point; nothing is decided there."""
    points = sorted({point for _, point in ours.outer_dscp})
    return tuple(Chain(f"outer_{point}", (f"ip dscp set {point}", f"ip6 dscp set {point}")) for point in points)


def _by_local_port(ours: Ours) -> str:
    ways = ", ".join(f"{port} : jump outer_{point}" for port, point in ours.outer_dscp)
    return f"udp sport vmap {{ {ways} }}" if ways else ""


def _of_tunnels(ours: Ours) -> Chain:
    pointed = _by_local_port(ours)
    return Chain(
        "of_tunnels",
        rules(
            f"oifname @uplinks {pointed}" if pointed else "",
            "oifname @uplinks meta l4proto . ip daddr . th dport @endpoints4 accept",
            "oifname @uplinks meta l4proto . ip6 daddr . th dport @endpoints6 accept",
            f"counter name dropped_tunnel_user {ours.held}",
        ),
    )


def _owned(ours: Ours) -> Chain:
    return Chain(
        "owned",
        rules(
            [*_PROBES],
            f"oifname @tunnels counter name dropped_into_tunnel {ours.held}",
            f"oifname @uplinks meta skuid {users(ours.exempt)} accept" if ours.exempt else "",
            "jump freed",
            f"counter name dropped_owned {ours.held}",
        ),
    )


def _unattributed(ours: Ours) -> Chain:
    """The rest of our own connections, and what the kernel sends by itself."""
    outer = f"meta mark & {mark(MASK)} == {mark(OUTER_MARK)} meta l4proto"
    begun = ours.by_mark("ct mark", "lane")
    pointed = _by_local_port(ours)
    return Chain(
        "unattributed",
        rules(
            f"ct direction original tcp flags & syn == 0 {begun}" if begun else "",
            f"oifname @tunnels counter name dropped_into_tunnel {ours.held}",
            f"oifname @uplinks {outer} udp {pointed}" if pointed else "",
            f"oifname @uplinks {outer} . ip daddr . th dport @kernel_endpoints4 accept",
            f"oifname @uplinks {outer} . ip6 daddr . th dport @kernel_endpoints6 accept",
            [f"oifname @uplinks {line}" for line in _NEIGHBOURS],
            f"oifname @uplinks {ours.answer} icmp type echo-reply accept",
            f"oifname @uplinks {ours.answer} icmpv6 type echo-reply accept",
            "jump freed",
            f"counter name dropped_unattributed {ours.held}",
        ),
    )


def _freed(ours: Ours) -> Chain:
    """What is free whoever sends it. Only ever on an uplink."""
    link = f"oifname @uplinks meta skuid {users(ours.link)}"
    return Chain(
        "freed",
        rules(
            f"oifname @uplinks {ours.answer} tcp sport @inbound_tcp accept",
            f"oifname @uplinks {ours.answer} udp sport @inbound_udp accept",
            "oifname @uplinks meta l4proto { tcp, udp } ip daddr . th dport @resolvers4 accept",
            "oifname @uplinks meta l4proto { tcp, udp } ip6 daddr . th dport @resolvers6 accept",
            "oifname @uplinks meta skuid 0 meta l4proto tcp ip daddr . th dport @gateways4 accept",
            "oifname @uplinks meta skuid 0 meta l4proto tcp ip6 daddr . th dport @gateways6 accept",
            f"{link} udp sport 68 udp dport 67 accept" if ours.link else "",
            f"{link} udp sport 546 udp dport 547 accept" if ours.link else "",
        ),
    )


def _refuse(ours: Ours, capture: Capture) -> Chain:
    """Tell an application at once; whether its packet leaves is not decided here.

    While one guard takes the place of another, a first packet may miss both captures: it is sent again.
    """
    missed = f"meta skuid >= 0 tcp dport {ports(capture.ports)} {FIRST} counter name dropped_owned drop"
    refusals = (
        "meta l4proto tcp counter name refused_tcp reject with tcp reset",
        "counter name refused_other reject with icmpx type admin-prohibited",
    )
    return Chain(
        "refuse",
        rules(
            *_forged(ours, capture),
            'oifname "lo" accept',
            "ct status dnat accept",
            "meta nfproto @glass accept" if ours.glass else "",
            f"meta skuid {users({ours.proxy, ours.tunnel, *ours.exempt})} accept",
            [*_PROBES],
            "jump freed",
            missed if capture.ports and ours.held == "drop" else "",
            [f"meta skuid >= 0 {line}" for line in refusals] if ours.held == "drop" else "",
        ),
        "type filter hook output priority 0; policy accept;",
    )


def _forged(ours: Ours, capture: Capture) -> tuple[str, ...]:
    """Hold what somebody else writes into a captured connection, or answers there."""
    held = "counter name dropped_spoofed drop"
    answers = f"ct status dnat ct direction reply tcp sport @entries meta skuid >= 0 meta skuid != {ours.proxy} {held}"
    if not capture.owned:
        return (answers,)
    owned = braced(str(port) for port, _ in capture.owned)
    owners = braced(f"{port} . {uid}" for port, uid in capture.owned)
    others = f"tcp dport {owned} {LATER} meta skuid >= 0 tcp dport . meta skuid != {owners}"
    return (answers, f"ct status dnat ct direction original {others} {held}")
