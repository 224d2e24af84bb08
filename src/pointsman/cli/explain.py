"""The command that says why a request travels as it does, by the enforcer's own code."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from pointsman.cli import show
from pointsman.cli.node import DEFAULT_RUNTIME, AsJson, Runtime


def explain(
    url: Annotated[
        str, typer.Argument(metavar="[URL]", help="Where the request goes; `tcp://HOST:PORT` for a plain flow.")
    ] = "",
    method: Annotated[str, typer.Option("--method", "-X")] = "GET",
    header: Annotated[list[str] | None, typer.Option("--header", "-H", metavar="NAME: VALUE")] = None,
    claim: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="As if a verified token said so.")
    ] = None,
    token_file: Annotated[Path | None, typer.Option(help="File with an identity token, to be verified.")] = None,
    uid: Annotated[int | None, typer.Option(min=0, max=0xFFFFFFFE, help="User id behind the socket.")] = None,
    address: Annotated[str, typer.Option(help="Address that the connection goes to.")] = "",
    grpc: Annotated[bool, typer.Option(help="A gRPC call.")] = False,
    curl: Annotated[str, typer.Option(metavar="LINE", help="A curl line instead of a URL.")] = "",
    har: Annotated[Path | None, typer.Option(metavar="FILE", help="A HAR file instead of a URL.")] = None,
    entry: Annotated[int, typer.Option(min=1, help="Which entry of the HAR file.")] = 1,
    policy: Annotated[Path | None, typer.Option(metavar="FILE", help="A policy, instead of the one in force.")] = None,
    node: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A node file: its tunnels, as if all were up.")
    ] = None,
    runtime: Runtime = DEFAULT_RUNTIME,
    json: AsJson = False,
) -> None:
    """Explain a request: its context with sources, the rule, the profile, the tunnel and the objections to others.

    Example: pointsman explain http://records.example/patients/7 --claim role=admin --uid 1000
    """
    from pointsman.cli.asked import Asked, from_curl, from_har, headers_of
    from pointsman.cli.claims import claims_of
    from pointsman.cli.files import read_text
    from pointsman.cli.reasons import reasons
    from pointsman.model.problem import Invalid, Place, Problem

    if sum(map(bool, (url, curl, har))) != 1:
        raise typer.BadParameter("give one of URL, --curl and --har")
    if curl:
        asked = from_curl(curl, uid)
    elif har:
        asked = from_har(har, entry, uid)
    else:
        asked = Asked(method, url, headers_of(header or ()), address, uid, grpc)
    claims: Mapping[str, object] | None = None
    if claim:
        claims = claims_of(claim, "--claim")
    token = read_text(token_file).strip() if token_file else ""
    if claim and token:
        raise Invalid([Problem(Place("--claim"), "two-identities", "claims and a token at once", "give one of them")])
    answer = reasons(asked, claims, token, policy, node, runtime, time.time())
    if json:
        show.as_json(answer)
    else:
        _print(answer)


def _print(answer: dict[str, Any]) -> None:
    if answer["context"]:
        show.table(
            "context",
            ("attribute", "value", "source", "absent because"),
            [(c["attribute"], _shown(c["value"]), c["source"], c["absent"]) for c in answer["context"]],
        )
        print()
    if answer["trace"]:
        show.table(
            "compared",
            ("attribute", "with", "answer"),
            [(t["attribute"], t["asked"], t["answer"]) for t in answer["trace"]],
        )
        print()
    print(f"decision: {show.plain(answer['decision'])}")
    if answer["rule"]:
        print(f"rule:     {show.plain(answer['rule'])}")
    if answer["profile"]:
        print(f"profile:  {answer['profile']}")
        own = f"one {answer['dedicated']}, made when it is needed; `leases list` names them"
        parts = sum(answer["shares"].values())
        shared = ", ".join(f"{name} ({part} of {parts} connections)" for name, part in answer["shares"].items())
        pooled = "unknown" if answer["tunnel"] is None else shared or answer["tunnel"] or "none"
        print(f"tunnel:   {own if answer['dedicated'] else pooled}")
        for objection in answer["objections"]:
            print(f"          {show.plain(objection)}")
    for assumed in answer["assumed"]:
        print(f"assumed:  {show.plain(assumed)}")


def _shown(value: object) -> str:
    return "" if value is None else str(value)
