"""What on this host could keep the promises from holding: looked for, named, with what to do about it."""

import json
import os
import re
import subprocess
from collections.abc import Container, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pointsman.dataplane.guard import FRAMES, TABLE, guard_text
from pointsman.model.fault import Fault
from pointsman.model.routing import BOUND_PREFERENCE, MASK, PREFERENCES
from pointsman.model.tunnel import Kind
from pointsman.node.config import Node
from pointsman.node.doctor_files import carried, modes
from pointsman.node.findings import (
    Finding,
    file_findings,
    guard_finding,
    inotify_finding,
    kernel_finding,
    stacked_findings,
    xdp_finding,
)
from pointsman.node.guards import closed_guard
from pointsman.node.identity import gateway_findings
from pointsman.system import envoy, nft


def examine(node: Node) -> tuple[Finding, ...]:
    """Look at the host that this node file is for. Changes nothing."""
    return (
        *_programs(node),
        kernel_finding(os.uname().release),
        guard_finding(_refused(node)),
        xdp_finding(_text(Path("/proc/net/protocols"))),
        *_users(node),
        *file_findings(modes(node)),
        *gateway_findings(node, datetime.now(UTC)),
        *_rules(),
        *_tables(),
        *_sysctls(),
        *_userspace(node),
        *_devices(node),
        *_stacked(node),
        *_resolvers(node),
        *carried(node),
    )


def programs_needed(kinds: Container[Kind], module: bool) -> dict[str, str]:
    """Return the programs that these kinds of tunnel need, with their packages. `module`: the kernel has WireGuard."""
    wanted = {"nft": "nftables", "setpriv": "util-linux", "ip": "iproute2"}
    if Kind.OPENVPN in kinds:
        wanted["openvpn"] = "openvpn"
    if Kind.WIREGUARD in kinds and not module:
        wanted["wireguard-go"] = "wireguard-go"
    return wanted


def rules_findings(*listed: Iterable[dict[str, object]]) -> list[Finding]:
    """Judge the policy routing rules: foreign ones that see our marks, or come before ours, lead packets astray."""
    found = []
    for rule in (rule for rules in listed for rule in rules):
        preference = rule.get("priority", 0)
        if (
            not isinstance(preference, int)
            or preference in (*PREFERENCES, BOUND_PREFERENCE)
            or rule.get("table") in ("local", "main", "default")
        ):
            continue
        name = f"rule {preference} ({rule.get('table')})"
        mask = int(str(rule.get("fwmask", "0xffffffff")), 16) if "fwmark" in rule else 0
        if mask & MASK:
            found.append(
                Finding(
                    "foreign rules", "problem", f"{name} looks at mark bits {mask:#x}, which overlap ours {MASK:#x}"
                )
            )
        elif preference < PREFERENCES.start:
            found.append(Finding("foreign rules", "warning", f"{name} comes before ours and may take our packets"))
    return found or [Finding("foreign rules", "ok", "none that could take our packets")]


def tables_findings(ruleset: Iterable[dict[str, dict[str, object]]]) -> list[Finding]:
    """Judge foreign nftables chains: address translation or dropping on the way out can shadow ours."""
    found = []
    for chain in (item["chain"] for item in ruleset if "chain" in item):
        if chain.get("table") in (TABLE, FRAMES) or "hook" not in chain:
            continue
        name = f"{chain['family']} {chain['table']} {chain['name']}"
        if chain.get("type") == "nat" and chain["hook"] in ("output", "postrouting"):
            found.append(Finding("foreign firewall", "warning", f"chain `{name}` translates addresses on the way out"))
        elif chain.get("policy") == "drop" and chain["hook"] in ("output", "postrouting"):
            found.append(Finding("foreign firewall", "warning", f"chain `{name}` drops by default on the way out"))
    return found or [Finding("foreign firewall", "ok", "no chain that shadows ours")]


def _programs(node: Node) -> list[Finding]:
    kinds = {*(entry.kind for entry in node.entries), *(gateway.kind for gateway in node.gateways)}
    found = []
    for program, package in programs_needed(kinds, Path("/sys/module/wireguard").exists()).items():
        there = any(
            (Path(folder) / program).exists() for folder in ("/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/bin")
        )
        found.append(
            Finding(program, "ok" if there else "problem", "" if there else f"missing; install the package `{package}`")
        )
    try:
        found.append(Finding("envoy", "ok", str(envoy.binary())))
    except Fault as fault:
        found.append(Finding("envoy", "problem", str(fault)))
    if kinds - {Kind.DIRECT}:
        tun = Path("/dev/net/tun").exists()
        found.append(
            Finding("/dev/net/tun", "ok" if tun else "problem", "" if tun else "missing: tunnels cannot be made")
        )
    return found


def _users(node: Node) -> list[Finding]:
    if node.unknown_users:
        return [Finding("users", "problem", f"{unknown.what}; {unknown.hint}") for unknown in node.unknown_users]
    if node.proxy_uid == node.tunnel_uid:
        return [Finding("users", "problem", "proxy and tunnels share a user; each needs one of its own")]
    if 0 in (node.proxy_uid, node.tunnel_uid):
        return [Finding("users", "problem", "proxy and tunnels must not run as root")]
    others = [uid for uid in (node.proxy_uid, node.tunnel_uid) if _strangers(uid)]
    if others:
        return [Finding("users", "problem", f"other programs run as user {uid}") for uid in others]
    return [Finding("users", "ok", f"proxy {node.proxy_uid}, tunnels {node.tunnel_uid}")]


def _strangers(uid: int) -> list[str]:
    """Return the names of programs of this user on this host's network that are none of ours."""
    found = []
    here = Path("/proc/self/ns/net").stat().st_ino
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if folder.stat().st_uid == uid and (folder / "ns/net").stat().st_ino == here:
                found.append((folder / "comm").read_text().strip())
        except OSError:
            continue
    return [name for name in found if name not in ("envoy", "openvpn", "wireguard-go")]


def _refused(node: Node) -> str:
    """Return why the kernel would not take the closed guard; empty where it would."""
    spec = closed_guard(node)
    present = tuple(name for name in spec.framed if Path(f"/sys/class/net/{name}").exists())
    try:
        nft.check_rules(guard_text(replace(spec, framed=present)))
    except Fault as fault:
        return fault.why
    return ""


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _rules() -> list[Finding]:
    listed = _told("ip", "-j", "rule")
    if listed is None:
        return [Finding("foreign rules", "warning", "not looked at: `ip` does not list them")]
    return rules_findings(listed, _told("ip", "-j", "-6", "rule") or ())


def _tables() -> list[Finding]:
    listed = _told("nft", "-j", "list", "ruleset")
    if listed is None:
        return [Finding("foreign firewall", "warning", "not looked at: `nft` does not list it; only root may ask")]
    return tables_findings(listed["nftables"])


def _stacked(node: Node) -> list[Finding]:
    listed = _told("ip", "-j", "-d", "link")
    if listed is None:
        return [Finding("stacked uplinks", "warning", "not looked at: `ip` does not list devices")]
    return stacked_findings(listed, node.uplinks)


def _sysctls() -> list[Finding]:
    if _text(Path("/proc/sys/net/ipv4/conf/all/rp_filter")).strip() == "1":
        hint = "net.ipv4.conf.all.rp_filter is 1 (strict): replies from tunnels are dropped; set it to 2 or 0"
        return [Finding("reverse path filter", "problem", hint)]
    return [Finding("reverse path filter", "ok")]


def _userspace(node: Node) -> list[Finding]:
    """Judge whether as many wireguard-go may run as the node file lets there be tunnels; none do with the module."""
    pooled = sum(entry.kind is Kind.WIREGUARD for entry in node.entries)
    given = [gateway for gateway in node.gateways if gateway.kind is Kind.WIREGUARD]
    if Path("/sys/module/wireguard").exists() or not (pooled or given):
        return []
    held = node.bounds.node + sum(gateway.least for gateway in given) if given else 0
    limit = _text(Path("/proc/sys/fs/inotify/max_user_instances")).strip()
    return [inotify_finding(int(limit), pooled + held)] if limit.isdigit() else []


def _devices(node: Node) -> list[Finding]:
    missing = [name for name in node.uplinks if not Path(f"/sys/class/net/{name}").exists()]
    return [Finding("uplinks", "problem", f"there is no device `{name}`") for name in missing] or [
        Finding("uplinks", "ok", ", ".join(node.uplinks))
    ]


def _resolvers(node: Node) -> list[Finding]:
    try:
        named = re.findall(r"^nameserver\s+(\S+)", Path("/etc/resolv.conf").read_text(), re.MULTILINE)
    except OSError:
        named = []
    undeclared = [name for name in named if name not in node.resolvers and not name.startswith("127.")]
    if undeclared:
        listed = ", ".join(f"`{name}`" for name in undeclared)
        return [
            Finding("resolvers", "warning", f"/etc/resolv.conf asks {listed}, not declared: names will not resolve")
        ]
    return [Finding("resolvers", "ok", ", ".join(node.resolvers) or "none declared: no DNS leaves")]


def _told(*command: str) -> Any:
    """Return what a program tells in JSON; None where it is missing, or tells nothing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return json.loads(done.stdout) if done.returncode == 0 and done.stdout else None
