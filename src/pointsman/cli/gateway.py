"""Commands of the far end: run a gateway, look at it, and make or remove tunnels by hand."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pointsman.cli import show
from pointsman.cli.client import Client, NoAgent
from pointsman.model.fault import Fault
from pointsman.model.problem import Invalid
from pointsman.policy.profiles import bandwidth as bits

DEFAULT_RUNTIME = Path("/run/pointsman-gateway")
Runtime = Annotated[
    Path,
    typer.Option("--runtime", envvar="POINTSMAN_GATEWAY_RUNTIME", help="Runtime folder of the gateway."),
]
GatewayFile = Annotated[Path, typer.Option("--config", "-c", help="Gateway file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value for programs.")]

app = typer.Typer(no_args_is_help=True)


@app.callback(invoke_without_command=True)
def gateway(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Gateway file; runs it.")] = None,
) -> None:
    """Run the far end of tunnels on this host, or ask the one that runs.

    Example: pointsman gateway -c gateway.yaml
    """
    if context.invoked_subcommand is None and config is not None:
        up(config)
    elif config is not None:
        raise typer.BadParameter("`-c` comes after the command, as in `pointsman gateway down -c FILE`")


@app.command()
def up(config: GatewayFile) -> None:
    """Run the gateway until it is told to end. Tunnels go on without it.

    Example: pointsman gateway up -c gateway.yaml
    """
    from pointsman.gateway import boot

    boot.run(config)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The gateway file.")],
    node: Annotated[
        Path | None, typer.Option("--node", help="Node file: its certificates and the gateway's must suit each other.")
    ] = None,
    files: Annotated[
        bool, typer.Option(help="Also judge certificates, keys and secrets; they are on its host.")
    ] = True,
    json: AsJson = False,
) -> None:
    """List every problem of a gateway file and of the files that it names, with place and hint; exit 1 if there is any.

    Example: pointsman gateway check gateway.yaml
    """
    from datetime import UTC, datetime

    from pointsman.gateway.check import Verdict, judge
    from pointsman.gateway.config import read_gateway
    from pointsman.node.config import read_node

    found = read_gateway(file)
    askers = read_node(node).gateways if node else ()
    verdict = judge(found, datetime.now(UTC), askers) if files else Verdict(found.problems)
    if verdict.stops or verdict.unfit:
        raise Invalid([*verdict.stops, *verdict.unfit])
    kinds = [
        kind for kind, section in (("wireguard", found.form.wireguard), ("openvpn", found.form.openvpn)) if section
    ]
    warnings = (*found.here, *verdict.warnings)
    if json:
        told = [problem.fields for problem in warnings]
        until = verdict.until and verdict.until.isoformat()
        answer = {"valid": True, "name": found.form.name, "kinds": kinds, "problems": [], "warnings": told}
        show.as_json({**answer, "certificate_until": until})
        return
    until = f"; its certificate is good until {verdict.until:%Y-%m-%d %H:%M} UTC" if verdict.until else ""
    print(f"{file}: no problems; gives {' and '.join(kinds)}{until}")
    show.problems(warnings, "yellow")


@app.command()
def down(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Gateway file, where none runs.")] = None,
    runtime: Runtime = DEFAULT_RUNTIME,
    json: AsJson = False,
) -> None:
    """End all tunnels and remove all that is ours from this host. What was granted is kept for the next start.

    Example: pointsman gateway down
    """
    from pointsman.gateway import boot

    try:
        faults = Client(runtime, role="gateway").post("/v1/down")["faults"]
    except NoAgent:
        if config is None:
            raise
        faults = [str(fault) for fault in boot.remove(config)]
    if json:
        show.as_json({"faults": faults})
        return
    for fault in faults:
        show.error(fault)
    print("down: the host is as it was before")


@app.command()
def status(runtime: Runtime = DEFAULT_RUNTIME, json: AsJson = False) -> None:
    """Show what the gateway offers and carries, whether it is in order, and what its guard dropped.

    Example: pointsman gateway status --json
    """
    answer = Client(runtime, role="gateway").get("/v1/status")
    if json:
        show.as_json(answer)
        return
    capacity, load = answer["capacity"], answer["load"]
    show.table(
        f"gateway {answer['gateway']}",
        ("state", "kinds", "tunnels", "bandwidth", "received", "sent", "why"),
        [
            (
                "up" if answer["healthy"] else "failed",
                ", ".join(answer["kinds"]),
                f"{load['tunnels']} of {capacity['tunnels']}",
                "" if capacity["bandwidth"] is None else f"{capacity['bandwidth']} bit/s",
                load["received"],
                load["sent"],
                answer["why"],
            )
        ],
    )
    print()
    show.table("dropped", ("why", "packets"), sorted(answer["dropped"].items()))


@app.command()
def tunnels(runtime: Runtime = DEFAULT_RUNTIME, json: AsJson = False) -> None:
    """Show every tunnel, whose it is, and when its far end was last heard.

    Example: pointsman gateway tunnels
    """
    answer = Client(runtime, role="gateway").get("/v1/tunnels")
    if json:
        show.as_json(answer)
        return
    columns = ("tunnel", "node", "kind", "addresses", "class", "bandwidth", "expires", "heard", "received", "sent")
    show.table("tunnels", columns, [_row(tunnel) for tunnel in answer])


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What to call the tunnel: a-z, 0-9 and -.")],
    kind: Annotated[Literal["wireguard", "openvpn"], typer.Option(help="Kind of tunnel.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the file for the other end goes.")],
    bandwidth: Annotated[str, typer.Option(metavar="RATE", help="At most this much each way, like 100Mbit.")] = "",
    qos: Annotated[Literal["interactive", "default", "bulk"], typer.Option(help="Queue class.")] = "default",
    runtime: Runtime = DEFAULT_RUNTIME,
    json: AsJson = False,
) -> None:
    """Make a tunnel for good, and the wg-quick or .ovpn file for its other end. The private key is in that file alone.

    Example: pointsman gateway add office --kind wireguard -o office.conf
    """
    import re

    from pointsman.gateway.request import NAME
    from pointsman.policy.schema import BANDWIDTH

    if not re.fullmatch(NAME, name):
        raise typer.BadParameter("a name has a-z, 0-9 and -, and begins with a letter or digit")
    if bandwidth and not re.fullmatch(BANDWIDTH, bandwidth):
        raise typer.BadParameter(f"`{bandwidth}` is no bandwidth; write a number and `kbit`, `Mbit` or `Gbit`")
    if output.exists():
        raise Fault("file-exists", f"write `{output}`", "it exists already, and may hold the key of another tunnel")
    asked = {"name": name, "kind": kind, "bandwidth": bits(bandwidth) if bandwidth else None, "qos": qos}
    answer = Client(runtime, role="gateway").post("/v1/add", asked)
    try:
        with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(answer["file"])
    except OSError as error:
        Client(runtime, role="gateway").post("/v1/remove", {"node": "", "name": name})
        raise Fault("file", f"write `{output}`", str(error.strerror)) from error
    said = f"{name}: {', '.join(answer['addresses'])}; give `{output}` to the other end, and keep no copy"
    show.done(json, {"name": name, "addresses": answer["addresses"], "file": str(output)}, said)


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="The tunnel.")],
    node: Annotated[str, typer.Option(help="The node that asked for it; none for one that was added here.")] = "",
    runtime: Runtime = DEFAULT_RUNTIME,
    json: AsJson = False,
) -> None:
    """End a tunnel at once. Its other end is not let in any more.

    Example: pointsman gateway remove office
    """
    answer = Client(runtime, role="gateway").post("/v1/remove", {"node": node, "name": name})
    show.done(json, answer, "removed" if answer["removed"] else "there is no such tunnel")


def _row(tunnel: dict[str, Any]) -> tuple[object, ...]:
    left, age, rate = tunnel["expires_in"], tunnel["handshake_age"], tunnel["bandwidth"]
    return (
        tunnel["id"],
        tunnel["node"] or "",
        tunnel["kind"],
        ", ".join(tunnel["addresses"]),
        tunnel["qos"],
        "" if rate is None else f"{rate} bit/s",
        "never" if left is None else f"in {left:.0f} s",
        "never" if age is None else f"{age:.0f} s ago",
        tunnel["received"],
        tunnel["sent"],
    )
