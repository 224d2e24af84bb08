"""What kernel, devices and files of a host mean for the promises. Judges only; `doctor` does the looking."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pointsman.model.problem import Problem

# The first kernel with an nftables egress hook on devices.
EGRESS_SINCE = (5, 16)
STACKED = {"bridge", "bond", "team", "vlan", "macvlan", "ipvlan", "ppp"}
_GROUP, _OTHERS = 0o070, 0o007


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `level` is `ok`, `warning` or `problem`."""

    what: str
    level: str
    detail: str = ""


def kernel_finding(release: str) -> Finding:
    """Judge the kernel's release, as `uname -r` gives it."""
    found = re.match(r"(\d+)\.(\d+)", release)
    if found is None:
        return Finding("kernel", "warning", f"`{release}` is no release that is known here")
    if (int(found[1]), int(found[2])) < EGRESS_SINCE:
        least = ".".join(map(str, EGRESS_SINCE))
        return Finding("kernel", "problem", f"{release} cannot hold raw frames: the egress hook needs {least}")
    return Finding("kernel", "ok", release)


def guard_finding(refused: str) -> Finding:
    """Judge the kernel's answer to the closed guard; empty where it would take it."""
    if not refused:
        return Finding("guard", "ok", "the kernel takes the closed form")
    if "not permitted" in refused:
        return Finding("guard", "warning", "not asked: only root may")
    if "not installed" in refused:
        return Finding("guard", "problem", f"not asked: {refused}")
    lines = [line for line in refused.splitlines() if "rror" in line]
    first = (lines or refused.splitlines())[0].strip()
    hint = "it needs the egress hook (CONFIG_NETFILTER_EGRESS) and CONFIG_IP_ROUTE_CLASSID"
    return Finding("guard", "problem", f"the kernel refuses the closed form: {first}; {hint}")


def xdp_finding(protocols: str) -> Finding:
    """Judge the kernel's table of protocols, /proc/net/protocols: AF_XDP sockets pass no rule of anybody's."""
    lines = [line.split() for line in protocols.splitlines()]
    sockets = next((int(words[2]) for words in lines if len(words) > 2 and words[0] == "XDP"), None)
    if sockets is None:
        return Finding("AF_XDP", "ok", "not in this kernel")
    if sockets:
        return Finding("AF_XDP", "warning", f"open sockets: {sockets}; what they send passes no rule")
    deny = "deny it to services that have CAP_NET_RAW (RestrictAddressFamilies= of systemd)"
    return Finding("AF_XDP", "ok", f"no open socket; the guard would not see one, so {deny}")


def stacked_findings(links: Iterable[Mapping[str, object]], uplinks: Iterable[str]) -> list[Finding]:
    """Judge the devices, as `ip -d -j link` lists them: below a stacked uplink frames are not looked at."""
    found = []
    listed = {str(link.get("ifname")): link for link in links}
    for name in uplinks:
        link = listed.get(name, {})
        kind = _kind(link)
        if kind in STACKED:
            below = sorted({*_members(name, listed), *([str(link["link"])] if "link" in link else [])})
            over = f" over {', '.join(f'`{device}`' for device in below)}" if below else ""
            what = f"`{name}` is a {kind}{over}; raw frames that are sent below it (CAP_NET_RAW) are not held"
            found.append(Finding("stacked uplinks", "warning", what))
    return found or [Finding("stacked uplinks", "ok", "none")]


def inotify_finding(limit: int, daemons: int) -> Finding:
    """Judge fs.inotify.max_user_instances (inotify(7)): each wireguard-go takes one of its user's."""
    if daemons > limit:
        what = f"fs.inotify.max_user_instances is {limit}, and up to {daemons} tunnels need one each; raise it, or"
        return Finding("userspace WireGuard", "warning", f"{what} use the kernel's WireGuard module")
    return Finding("userspace WireGuard", "ok", f"room for {limit} tunnels")


def file_findings(modes: Mapping[str, int | None]) -> list[Finding]:
    """Judge the permissions of files that hold keys, by their paths; None where there is no such file."""
    found = []
    for path, mode in sorted(modes.items()):
        if mode is None:
            found.append(Finding("key files", "problem", f"there is no file `{path}`, which the node file names"))
        elif mode & _OTHERS:
            found.append(Finding("key files", "problem", f"`{path}` is open to all users; try: chmod 600 {path}"))
        elif mode & _GROUP:
            found.append(Finding("key files", "warning", f"`{path}` is open to its group; try: chmod 600 {path}"))
    return found or [Finding("key files", "ok", "open to their owner only" if modes else "none")]


def carried_findings(notes: Iterable[Problem]) -> list[Finding]:
    """Judge what the tunnels' files leave out of where the policy may send something."""
    return [Finding("AllowedIPs", "warning", str(note)) for note in notes] or [
        Finding("AllowedIPs", "ok", "no tunnel leaves out where the policy may send something by it")
    ]


def _kind(link: Mapping[str, object]) -> str:
    info = link.get("linkinfo")
    if isinstance(info, Mapping) and "info_kind" in info:
        return str(info["info_kind"])
    return str(link.get("link_type", ""))


def _members(name: str, listed: Mapping[str, Mapping[str, object]]) -> list[str]:
    return [other for other, link in listed.items() if link.get("master") == name]
