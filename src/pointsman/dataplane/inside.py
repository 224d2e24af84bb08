"""The guard's chains for what stays inside or comes in: forged marks, capture, entries, replies, forwarded packets."""

from pointsman.dataplane import treatment
from pointsman.dataplane.capture import Capture, chosen
from pointsman.dataplane.nftables import LATER, Chain, braced, device, lane_counter, mark, rules, users
from pointsman.dataplane.ours import Ours
from pointsman.model.routing import FAMILIES, MASK
from pointsman.model.tunnel import Lane

PROXY_ZONE = 7112
COUNTERS = ("dropped_spoofed", "dropped_entry", "dropped_tunnel_new", "dropped_other_device", "dropped_forwarded")


def chains(ours: Ours, capture: Capture) -> tuple[Chain, ...]:
    """Return the chains. Nothing in here frees a packet: that is for the chains in `leaving` to say."""
    return (
        _apart(ours),
        _strip(ours),
        *_captured(ours, capture),
        *capture.chains,
        _arriving(),
        _inbound(ours, capture),
        *(_returning(lane, ours.buckets.get(lane.profile, "")) for lane in ours.lanes),
        _forwarded(ours),
    )


def _apart(ours: Ours) -> Chain:
    """Track the proxy's connections apart: one of an application may have the same addresses and ports.

    A lane that leaves by the host's own address would otherwise find the application's entry, redirect included. What
    the proxy's closed sockets still send has no owner any more, but their lane's mark.
    """
    lanes = braced(mark(lane.mark) for lane in ours.lanes)
    return Chain(
        "apart",
        rules(
            'oifname "lo" return',
            f"meta skuid {ours.proxy} ct original zone set {PROXY_ZONE}",
            [
                "meta skuid >= 0 return",
                f"meta mark & {mark(MASK)} == {lanes} ct original zone set {PROXY_ZONE}",
            ]
            if ours.lanes
            else "",
        ),
        "type filter hook output priority -300; policy accept;",
    )


def _strip(ours: Ours) -> Chain:
    not_ours = f"meta mark & {mark(MASK)} != 0 meta skuid != {users({ours.proxy, ours.tunnel})}"
    return Chain(
        "strip",
        (f"{not_ours} meta mark set meta mark & {ours.rest}",),
        "type route hook output priority -150; policy accept;",
    )


def _captured(ours: Ours, capture: Capture) -> tuple[Chain, ...]:
    """Choose the entry of what has an owner, and redirect it, before the redirects of others with their priority -100.

    The kernel takes a new connection for the one before it on the same ports, somebody else's maybe, if the proxy has
    just reset that one, and redirects it as it did that one. So an entry is chosen anew for each first
    packet, and `inbound` drops what was meant for another; sent again it is let in, for the other is soon `forgotten`.
    """
    entries = {chosen(port): port for port in capture.entries}
    choose = rules(
        f"meta priority {braced(entries)} meta priority set 0:0" if entries else "",
        'oifname "lo" return',
        "meta l4proto != tcp return",
        f"ct state != new {LATER} return",
        "meta nfproto @glass return" if ours.glass else "",
        f"meta skuid {users({ours.proxy, ours.tunnel, *ours.exempt})} return",
        "ip daddr . th dport @resolvers4 return",
        "ip6 daddr . th dport @resolvers6 return",
        "meta skuid 0 ip daddr . th dport @gateways4 return",
        "meta skuid 0 ip6 daddr . th dport @gateways6 return",
        [f'meta nfproto ipv{version} ct state new ct timeout set "forgotten{version}"' for version in FAMILIES],
        f"meta skuid >= 0 goto {capture.chains[0].name}" if capture.chains else "",
    )
    ways = braced(f"{name} : {port}" for name, port in entries.items())
    # it stands also where nothing is captured: without any such chain the kernel forgets what is redirected already
    redirect = rules(
        'oifname "lo" return', f"meta l4proto tcp redirect to :meta priority map {ways}" if entries else ""
    )
    return (
        *((Chain("choose", choose, "type filter hook output priority -120; policy accept;"),) if entries else ()),
        Chain("capture", redirect, "type nat hook output priority -110; policy accept;"),
    )


def _arriving() -> Chain:
    """Packets to a tunnel's own address come out of that tunnel or from this host (CVE-2019-14899).

    What this host has sent to itself was tracked when it left, and is redirected already: a frame put into `lo` is not.
    """
    put = 'iifname "lo" ct state invalid meta l4proto tcp'
    return Chain(
        "arriving",
        (
            f"{put} tcp sport @entries counter name dropped_spoofed drop",
            f"{put} fib daddr type != local counter name dropped_spoofed drop",
            'iifname "lo" accept',
            "ip daddr @inner4 ip daddr . iifname != @inner4_on counter name dropped_spoofed drop",
            "ip6 daddr @inner6 ip6 daddr . iifname != @inner6_on counter name dropped_spoofed drop",
        ),
        "type filter hook prerouting priority -300; policy accept;",
    )


def _inbound(ours: Ours, capture: Capture) -> Chain:
    back = ours.by_mark("ct mark", "return")
    entries = braced(map(chosen, capture.entries))
    meant = braced(f"{port} . {chosen(port)}" for port in capture.entries)
    return Chain(
        "inbound",
        rules(
            [
                f'iifname "lo" tcp dport @entries ct status dnat {LATER} accept',
                f'iifname "lo" ct status dnat tcp dport . meta priority {meant} accept',
                f'iifname "lo" meta priority {entries} counter name dropped_entry drop',
            ]
            if capture.entries
            else "",
            "tcp dport @entries counter name dropped_entry reject with tcp reset",
            f"iifname != @uplinks {ours.note_inside}",
            'iifname "lo" accept',
            [f"ct direction reply {back}", f"ct state related {back}"] if back else "",
            "ct direction reply icmp type echo-reply ip saddr . iifname @probes4 accept",
            "ct direction reply icmpv6 type echo-reply ip6 saddr . iifname @probes6 accept",
            "iifname @tunnels counter name dropped_tunnel_new drop",
        ),
        "type filter hook input priority 0; policy accept;",
    )


def _returning(lane: Lane, bucket: str) -> Chain:
    return Chain(
        f"return_{lane.mark:08x}",
        (
            f"iifname != {device(lane.device)} counter name dropped_other_device drop",
            *treatment.inbound(bucket),
            f"counter name {lane_counter(lane, 'in')} accept",
        ),
    )


def _forwarded(ours: Ours) -> Chain:
    return Chain(
        "forwarded",
        rules("meta nfproto @glass accept" if ours.glass else "", "counter name dropped_forwarded"),
        f"type filter hook forward priority 0; policy {ours.held};",
    )
