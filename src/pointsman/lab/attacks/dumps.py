"""What of the kernel's and the agent's state must be the same before and after, in a form that can be compared."""

import json
import re
from collections.abc import Mapping
from typing import Any

from pointsman.lab import exec as on
from pointsman.lab import world
from pointsman.lab.names import Lab
from pointsman.model.routing import MASK

# Numbers that change by themselves: what is counted, numbered or measured.
_VOLATILE = {"handle", "ifindex", "packets", "bytes", "expires", "stats64", "stats", "link_index", "metainfo", "used"}
_MOVING = re.compile(
    r"conntrack_count|nf_conntrack_buckets|mem_pressure|/route/|stable_secret|random|tcp_fastopen_key|inode|netns_ok|ping_group"
)
# Underscores part words: counters and chains are named by lane
_WORD = re.compile(r"[0-9a-zA-Z]+")
Dump = Mapping[str, tuple[str, ...]]


def kernel(lab: Lab) -> Dump:
    """Return links, addresses, rules, routes, rule set and settings of the instance's network."""
    found = {
        "links": _json(lab, "ip", "-j", "link"),
        "addresses": _json(lab, "ip", "-j", "address"),
        "rules": _json(lab, "ip", "-j", "rule"),
        "rules6": _json(lab, "ip", "-6", "-j", "rule"),
        "routes": _json(lab, "ip", "-j", "route", "show", "table", "all"),
        "routes6": _json(lab, "ip", "-6", "-j", "route", "show", "table", "all"),
        "ruleset": _json(lab, "nft", "-j", "list", "ruleset"),
    }
    settings = on.run(lab, world.INSTANCE, ["sysctl", "-a", "--pattern", r"^net\."]).stdout.splitlines()
    found["settings"] = tuple(sorted(line for line in settings if not _MOVING.search(line)))
    return found


def files(lab: Lab) -> Dump:
    """Return the names and modes of what lies in the agent's folders."""
    found = [
        f"{path.relative_to(folder)} {path.lstat().st_mode & 0o7777:o}"
        for folder in (lab.runtime, lab.state)
        if folder.exists()
        for path in folder.rglob("*")
    ]
    return {"files": tuple(sorted(found))}


def named(dump: Dump) -> Dump:
    """Return a dump with marks, tables and priorities named after the device they lead to: numbers are given anew."""
    tables = {
        route["table"]: f"<{route['dev']}>"
        for route in map(json.loads, dump["routes"])
        if route.get("table", "").isdigit() and "dev" in route
    }
    priorities: dict[int, str] = {}
    marks: dict[str, str] = {}
    for rule in map(json.loads, dump["rules"]):
        if "fwmark" in rule:
            mark, device = int(rule["fwmark"], 16), tables.get(rule["table"], "<direct>")
            priorities[rule["priority"]] = device
            marks |= dict.fromkeys((f"{mark:#x}", f"{mark:#010x}", f"{mark}", f"{mark:08x}"), device)
            marks[f"{mark | MASK ^ 0xFFFFFFFF}"] = f"<all but {device[1:]}"  # what a rule keeps that sets the mark

    def renamed(line: str) -> str:
        # a table and a priority may have the same number, so each is looked for where it stands
        item = json.loads(line)
        for field, names in (("table", tables), ("priority", priorities)):
            if isinstance(item.get(field), str | int) and item[field] in names:
                item[field] = names[item[field]]
        return json.dumps(_by_name(item, marks), sort_keys=True)

    return {name: lines if name == "settings" else tuple(sorted(map(renamed, lines))) for name, lines in dump.items()}


def _by_name(value: Any, names: Mapping[str, str]) -> Any:
    """Return a value with its numbers named; sets, which the kernel has in order of number, come in order of name."""
    if isinstance(value, dict):
        found = {_by_name(name, names): _by_name(inner, names) for name, inner in value.items()}
        return {name: sorted(inner, key=json.dumps) if name == "set" else inner for name, inner in found.items()}
    if isinstance(value, list):
        return [_by_name(inner, names) for inner in value]
    if isinstance(value, str):
        return _WORD.sub(lambda found: names.get(found[0], found[0]), value)
    return names.get(str(value), value)


def difference(before: Dump, after: Dump) -> str:
    """Return the first few lines that differ, empty where nothing does."""
    found = []
    for name, lines in before.items():
        gone, fresh = set(lines) - set(after[name]), set(after[name]) - set(lines)
        found += [f"{name}: - {line[:160]}" for line in sorted(gone)] + [
            f"{name}: + {line[:160]}" for line in sorted(fresh)
        ]
        if not gone and not fresh and len(lines) != len(after[name]):
            found.append(f"{name}: {len(lines)} became {len(after[name])}")
    return "; ".join(found[:4]) + (f" and {len(found) - 4} more" if len(found) > 4 else "")


def _json(lab: Lab, *argv: str) -> tuple[str, ...]:
    items = json.loads(on.demand(lab, world.INSTANCE, argv) or "[]")
    if isinstance(items, dict):
        items = items["nftables"]
    return tuple(sorted(json.dumps(_still(item), sort_keys=True) for item in items))


def _still(value: Any) -> Any:
    """Return a value without what changes by itself. Multicast routes come and go with the kernel's own reports."""
    if isinstance(value, dict):
        return {name: _still(inner) for name, inner in value.items() if name not in _VOLATILE}
    return [_still(inner) for inner in value] if isinstance(value, list) else value
