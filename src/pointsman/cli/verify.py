"""Shows the proof of path for a range of time: what was decided, what was used, and whether anything is missing."""

import time
from typing import Annotated, Any

import typer

from pointsman.cli import show
from pointsman.cli.node import DEFAULT_RUNTIME, AsJson, Runtime, duration


def verify(
    since: Annotated[str, typer.Option("--since", help="How far back: `90s`, `10m`, `2h`; at most 24h.")] = "10m",
    runtime: Runtime = DEFAULT_RUNTIME,
    json: AsJson = False,
) -> None:
    """Show whether everything that left went the way that was decided. Exit code 1 where it did not, or nobody knows.

    Example: pointsman verify --since 1h
    """
    from pointsman.node.boot import evidence_of

    until = time.time()
    found = evidence_of(runtime, until - duration(since), until)
    if json:
        show.as_json(found)
    else:
        _tell(found)
    raise typer.Exit(0 if found["judgement"] == "right" else 1)


def _tell(found: dict[str, Any]) -> None:
    show.table(
        f"requests from {_clock(found['since'])} to {_clock(found['until'])}",
        ("lane", "proven by the kernel", "by source address", "unknown", "open sockets"),
        [
            (lane, counts["proven"], counts["by_source"], counts["unknown"], counts["open"])
            for lane, counts in found["lanes"].items()
        ],
    )
    print(f"{found['refused']} refused, {found['running']} running, {found['ended']} ended by a change of policy\n")
    show.table(
        "tunnels",
        ("tunnel", "packets by the guard", "bytes by the guard", "bytes it took", "wrong", "unknown", "why"),
        [
            (name, t["packets"], t["guard"], t["sent"], t["wrong"] or "", t["unknown"] or "", t.get("why", ""))
            for name, t in sorted(found["tunnels"].items())
        ],
    )
    if found["drops"]:
        print()
        show.table("dropped", ("counter", "packets"), list(found["drops"].items()))
    if found["findings"]:
        print()
        show.table(
            "went another way",
            ("at", "reason", "decided", "observed"),
            [(_clock(one["at"]), one["reason"], one["decided"], one["observed"]) for one in found["findings"]],
        )
    print()
    for reason, count in found["misrouted"].items():
        show.error(f"{count} misrouted: {reason}; see docs/operations.md")
    for what in found["unknown"]:
        show.error(f"unknown: {what}")
    print(f"{found['judgement']}: " + JUDGED[found["judgement"]])


JUDGED = {
    "right": "everything that left went the way that was decided",
    "wrong": "something went another way than decided",
    "unknown": "for a part of the time, or of what left, nothing is proven",
}


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))
