"""Commands that start, ask and end the agent of this host."""

import re
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from pointsman.cli import show
from pointsman.cli.client import Client, NoAgent

Runtime = Annotated[
    Path, typer.Option("--runtime", envvar="POINTSMAN_RUNTIME", help="Runtime folder of the agent.", show_default=True)
]
ConfigFile = Annotated[Path, typer.Option("--config", "-c", help="Node file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value for programs.")]
DEFAULT_RUNTIME = Path("/run/pointsman")
ON_DEMAND = "on demand"


def up(
    config: ConfigFile,
    observe: Annotated[bool, typer.Option(help="Decide and count, but hold nothing back.")] = False,
    confirm_within: Annotated[
        str, typer.Option(metavar="TIME", help="Undo everything unless `pointsman confirm` comes in time, like 60s.")
    ] = "",
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once the host is steered.")] = False,
    json: AsJson = False,
) -> None:
    """Steer this host: decision point, tunnel manager and agent in one process tree.

    Example: pointsman up -c node.yaml --confirm-within 60s
    """
    from pointsman.node import boot

    seconds = duration(confirm_within) if confirm_within else None
    if json and not detach:
        raise typer.BadParameter("`--json` goes with `--detach`; in the foreground the agent prints its log")
    if detach:
        answer = Client(boot.detached(config, observe=observe, confirm_within=seconds)).get("/v1/status")
        show.as_json(answer) if json else _steered(answer)
        return
    boot.run(config, observe=observe, confirm_within=seconds)


def _steered(answer: dict[str, Any]) -> None:
    ways = [_way(profile) for profile in answer["profiles"]]
    on_demand = ways.count(ON_DEMAND)
    usable = f"{sum(map(bool, ways)) - on_demand} of {len(ways) - on_demand} profiles usable"
    more = f", {on_demand} with tunnels made on demand" if on_demand else ""
    print(f"{answer['state']}: policy {answer['policy']['name']}, {usable}{more}")
    if answer["confirm_within"] is not None:
        print(f"everything is undone in {answer['confirm_within']:.0f} s unless `pointsman confirm` comes before")


def _way(profile: dict[str, Any]) -> str:
    """Return the tunnel of a profile; one of the pool that has none says why, one of single holders does not."""
    return ", ".join(profile.get("shares", ())) or str(profile["tunnel"]) or ("" if profile["why"] else ON_DEMAND)


def close(config: ConfigFile, json: AsJson = False) -> None:
    """Install the closed guard and exit: nothing leaves until `pointsman up`. For early boot.

    Example: pointsman close -c node.yaml
    """
    from pointsman.node import boot

    installed = boot.close(config)
    if json:
        show.as_json({"installed": installed})


def down(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Node file, where no agent runs.")] = None,
    runtime: Runtime = DEFAULT_RUNTIME,
    json: AsJson = False,
) -> None:
    """Remove all that is ours from this host, the guard last. The host is then open.

    Example: pointsman down
    """
    from pointsman.node import boot

    stood = True
    try:
        faults = Client(runtime).post("/v1/down")["faults"]
    except NoAgent:
        known = config or boot.node_file(runtime)
        if known is None:
            raise
        stood, found = boot.remove(known)
        faults = [str(fault) for fault in found]
    if json:
        show.as_json({"removed": stood, "faults": faults})
        return
    for fault in faults:
        show.error(fault)
    nothing = not stood and not faults
    print("down: nothing of ours was here" if nothing else "down: the host is as it was before")


def confirm(runtime: Runtime = DEFAULT_RUNTIME, json: AsJson = False) -> None:
    """Keep what `up --confirm-within` would undo.

    Example: pointsman confirm
    """
    answer = Client(runtime).post("/v1/confirm")
    show.done(json, answer, "confirmed" if answer["confirmed"] else "nothing was waiting to be confirmed")


def break_glass(
    reason: Annotated[str, typer.Option(help="Why; it is recorded. Needed to open.")] = "",
    for_: Annotated[str, typer.Option("--for", metavar="TIME", help="For how long, like 10m; at most 24h.")] = "10m",
    end: Annotated[bool, typer.Option("--end", help="Close again now.")] = False,
    runtime: Runtime = DEFAULT_RUNTIME,
    json: AsJson = False,
) -> None:
    """Open the host for a while: nothing is captured or held back. The kernel closes it by itself.

    Example: pointsman break-glass --for 10m --reason "gateway outage, ticket 4711"
    """
    if end:
        Client(runtime).post("/v1/close-glass")
        show.done(json, {"open": False, "until": None}, "closed")
        return
    if not reason:
        raise typer.BadParameter('say why with `--reason "…"`; it is recorded')
    until = Client(runtime).post("/v1/break-glass", {"seconds": duration(for_), "reason": reason})["until"]
    show.done(json, {"open": True, "until": until}, f"open for {for_}, until {until}")


def status(runtime: Runtime = DEFAULT_RUNTIME, json: AsJson = False) -> None:
    """Show what is enforced now: state, policy, profiles and their tunnels.

    Example: pointsman status --json
    """
    answer = Client(runtime).get("/v1/status")
    if json:
        show.as_json(answer)
        return
    policy = answer["policy"]
    show.table(
        f"node {answer['node']}",
        ("state", "policy", "version", "rules", "proxy", "requests", "refused", "misrouted"),
        [
            (
                answer["state"],
                policy["name"],
                policy["version"][:12],
                f"{policy['rules'] - 1} + default",
                f"pid {answer['proxy']['pid']}",
                answer["counts"]["requests"],
                answer["counts"]["refused"],
                answer["counts"]["misrouted"],
            )
        ],
    )
    if glass := answer["break_glass"]:
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + glass["seconds_left"]))
        print(show.plain(f"the host is open until {until}: {glass['reason'] or 'no reason is known'}"))
    if answer["confirm_within"] is not None:
        print(f"everything is undone in {answer['confirm_within']:.0f} s unless `pointsman confirm` comes before")
    print()
    show.table(
        "profiles",
        ("profile", "encryption", "tunnel", "leaves by", "why not"),
        [
            (p["name"], p["encryption"], _way(p), ", ".join(p["sources"]), "; ".join(p["why"]))
            for p in answer["profiles"]
        ],
    )
    if answer["names"]:
        print()
        show.table(
            "names",
            ("destination", "host", "addresses", "answered", "refused", "why not"),
            [(n["destination"], n["host"], *_name(n), n["why"]) for n in answer["names"]],
        )
    for warning in answer["warnings"]:
        show.error(f"warning: {warning}")


def _name(name: dict[str, Any]) -> tuple[str, str, str]:
    age = name["age"]
    return ", ".join(name["addresses"]), "" if age is None else f"{age:.0f} s ago", ", ".join(name["refused"])


def tunnels(runtime: Runtime = DEFAULT_RUNTIME, json: AsJson = False) -> None:
    """Show every tunnel, those of single holders and spare ones included: its state, level and holder.

    Example: pointsman tunnels
    """
    answer = Client(runtime).get("/v1/status")["tunnels"]
    if json:
        show.as_json(answer)
        return
    show.table(
        "tunnels",
        (
            "tunnel",
            "kind",
            "level",
            "state",
            "device",
            "addresses",
            "mtu",
            "handshake",
            "loss",
            "latency",
            "jitter",
            "holder",
            "why",
        ),
        [_tunnel(tunnel) for tunnel in answer],
    )


def _tunnel(tunnel: dict[str, Any]) -> tuple[object, ...]:
    age = tunnel["handshake_age"]
    return (
        tunnel["name"],
        tunnel["kind"],
        tunnel["level"],
        tunnel["state"],
        tunnel["device"],
        ", ".join(tunnel["sources"]),
        tunnel["mtu"] or "",
        "" if age is None else f"{age:.0f} s ago",
        *_path(tunnel["probe"]),
        tunnel["holder"],
        tunnel["why"],
    )


def _path(probe: dict[str, Any] | None) -> tuple[str, str, str]:
    if probe is None:
        return "", "", ""
    latency = "" if probe["latency"] is None else f"{probe['latency'] * 1000:.1f} ms"
    return f"{probe['loss']:.0%}", latency, f"{probe['jitter'] * 1000:.1f} ms"


def duration(text: str) -> int:
    """Return a time such as `90s`, `10m` or `2h` in seconds."""
    said = re.fullmatch("([0-9]{1,5})([smh])", text)
    seconds = int(said[1]) * {"s": 1, "m": 60, "h": 3600}[said[2]] if said else 0
    if not 0 < seconds <= 24 * 3600:
        raise typer.BadParameter(f"`{text}` is not a time between 1s and 24h; write `90s`, `10m` or `2h`")
    return seconds
