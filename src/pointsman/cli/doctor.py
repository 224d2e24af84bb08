"""The command that looks for what could keep the promises from holding."""

from pathlib import Path
from typing import Annotated

import typer

from pointsman.cli import show
from pointsman.cli.client import NoAgent
from pointsman.cli.node import DEFAULT_RUNTIME, AsJson, Runtime


def doctor(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Node file; else the running agent's.")] = None,
    runtime: Runtime = DEFAULT_RUNTIME,
    json: AsJson = False,
) -> None:
    """Look at this host for what breaks steering: programs, users, foreign rules and firewalls; exit 1 on a problem.

    Example: pointsman doctor -c node.yaml
    """
    from pointsman.node import boot
    from pointsman.node.config import read_node
    from pointsman.node.doctor import examine

    known = config or boot.node_file(runtime)
    if known is None:
        raise NoAgent(f"no agent runs at `{runtime}`: name a node file with `-c FILE`")
    findings = examine(read_node(known))
    if json:
        show.as_json([{"what": f.what, "level": f.level, "detail": f.detail} for f in findings])
    else:
        show.table("", ("looked at", "found", ""), [(f.what, f.level, f.detail) for f in findings])
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(1)
