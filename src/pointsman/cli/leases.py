"""Commands about tunnels of single holders: who holds which, and how to end or renew one."""

from typing import Annotated

import typer

from pointsman.cli import show
from pointsman.cli.client import Client
from pointsman.cli.node import DEFAULT_RUNTIME, AsJson, Runtime, duration

app = typer.Typer(no_args_is_help=True, help="Tunnels of single holders: list, revoke, rotate.")


@app.command("list")
def list_(runtime: Runtime = DEFAULT_RUNTIME, json: AsJson = False) -> None:
    """Show who holds which tunnel, and which wait for a holder.

    Example: pointsman leases list
    """
    answer = Client(runtime).get("/v1/leases")
    if json:
        show.as_json(answer)
        return
    show.table(
        "leases",
        ("profile", "holder", "tunnel", "gateway", "state", "key age", "idle"),
        [
            (
                *(one[name] for name in ("profile", "holder", "tunnel", "gateway", "state")),
                _s(one["key_age"]),
                _s(one["idle"]),
            )
            for one in answer["leases"]
        ],
    )
    spares = ", ".join(one["tunnel"] for one in answer["spares"])
    print(f"spare: {spares or 'none'}")
    if answer["leaving"]:
        print(f"leaving: {', '.join(answer['leaving'])}")
    for gateway, why in answer["silent"].items():
        show.error(f"gateway {gateway} does not answer: {why}")


@app.command()
def revoke(
    profile: Annotated[str, typer.Argument(help="The profile.")],
    holder: Annotated[str, typer.Argument(help="Whose tunnel, as `leases list` shows it.")],
    for_: Annotated[str, typer.Option("--for", metavar="TIME", help="No other tunnel for so long, like 10m.")] = "",
    runtime: Runtime = DEFAULT_RUNTIME,
    json: AsJson = False,
) -> None:
    """Take a holder's tunnel away now, with its connections and its keys.

    Example: pointsman leases revoke vault ada --for 1h
    """
    body = {"profile": profile, "holder": holder, "ban": duration(for_) if for_ else 0}
    answer = Client(runtime).post("/v1/leases/revoke", body)
    show.done(json, answer, "revoked" if answer["revoked"] else f"`{holder}` holds no tunnel of `{profile}`")


@app.command()
def rotate(
    tunnel: Annotated[str, typer.Argument(help="The tunnel, as `leases list` shows it.")],
    runtime: Runtime = DEFAULT_RUNTIME,
    json: AsJson = False,
) -> None:
    """Have a tunnel with new keys take a tunnel's place; no request is lost.

    Example: pointsman leases rotate gw-a-1f2e3d4c
    """
    after = Client(runtime).post("/v1/leases/rotate", {"tunnel": tunnel})["tunnel"]
    show.done(json, {"replaced": tunnel, "tunnel": after}, f"{tunnel} is replaced by {after}")


def _s(seconds: float) -> str:
    return f"{seconds:.0f} s"
