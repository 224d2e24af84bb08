"""The edge to nftables: put a transaction in place, read counters. It holds no opinion about rules."""

import json
import re
import subprocess
from collections.abc import Mapping
from typing import Any

from pointsman.model.fault import Fault

_TIMEOUT = 20
_PASSING = re.compile(r" expires [0-9a-z]+")


def apply_rules(text: str) -> None:
    """Carry out one transaction, wholly or not at all."""
    _run(["nft", "-f", "-"], text, "put the guard in place")


def check_rules(text: str) -> None:
    """Ask the kernel whether it would take this transaction, without carrying it out."""
    _run(["nft", "-c", "-f", "-"], text, "check the guard")


def read_counters(*tables: tuple[str, str]) -> Mapping[str, tuple[int, int]]:
    """Return packets and bytes of every named counter in these tables (family, name), as far as they are there."""
    found: dict[str, tuple[int, int]] = {}
    present = set(list_tables())
    for family, name in tables:
        if (family, name) not in present:
            continue
        answer = _run(["nft", "-j", "list", "counters", "table", family, name], "", "read the guard's counters")
        for item in json.loads(answer)["nftables"]:
            if "counter" in item:
                counter = item["counter"]
                found[counter["name"]] = (counter["packets"], counter["bytes"])
    return found


def list_tables() -> tuple[tuple[str, str], ...]:
    """Return family and name of every table in this network namespace, ours and others'."""
    answer = _run(["nft", "-j", "list", "tables"], "", "list nftables tables")
    items = json.loads(answer)["nftables"]
    return tuple((item["table"]["family"], item["table"]["name"]) for item in items if "table" in item)


def list_table(family: str, name: str) -> list[dict[str, Any]] | None:
    """Return everything in a table as libnftables-json(5) has it; None where there is no such table."""
    try:
        answer = _run(["nft", "-j", "list", "table", family, name], "", "list the guard")
    except Fault:
        if (family, name) in list_tables():
            raise
        return None
    items: list[dict[str, Any]] = json.loads(answer)["nftables"]
    return items


def list_rules(*tables: tuple[str, str]) -> str:
    """Return these tables as text without counters and times, to tell whether anybody changed them."""
    tried = "list the guard"
    try:
        listed = _run(
            ["nft", "-s", "-f", "-"], "".join(f"list table {family} {name}\n" for family, name in tables), tried
        )
    except Fault:  # one of them is not there
        present = list_tables()
        listed = "".join(
            _run(["nft", "-s", "list", "table", *table], "", tried) for table in tables if table in present
        )
    return _PASSING.sub("", listed)


def _run(command: list[str], text: str, tried: str) -> str:
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except FileNotFoundError:
        raise Fault("nft-missing", tried, "`nft` is not installed; install the package `nftables`") from None
    except subprocess.TimeoutExpired:
        raise Fault("nft-slow", tried, f"no answer within {_TIMEOUT} s") from None
    if done.returncode:
        raise Fault("nft-refused", tried, done.stderr.strip() or f"exit status {done.returncode}")
    return done.stdout
