"""`pointsman lab`: a small world of network namespaces to try things in."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pointsman.cli import show
from pointsman.cli.claims import claims_of
from pointsman.cli.node import AsJson

app = typer.Typer(help="A small world of network namespaces to try things in (root).", no_args_is_help=True)
Name = Annotated[str | None, typer.Option("--name", help="Which lab; several can stand at once.")]


def _hosts(incomplete: str) -> list[str]:
    from pointsman.lab import world

    return [each.name for each in world.HOSTS if each.name.startswith(incomplete)]


@app.command()
def up(
    name: Name = None,
    policy: Annotated[Path | None, typer.Option(help="The instance's policy.")] = None,
    agent: Annotated[bool, typer.Option(help="Start the agent on the instance.")] = True,
    json: AsJson = False,
) -> None:
    """Bring up instance, three gateways and origin; with a policy also the agent.

    Example: pointsman lab up --policy examples/policy.yaml
    """
    from pointsman.lab import life, names
    from pointsman.lab.instance import start_agent

    lab = names.lab(name or names.default_name())
    life.up(lab, policy)
    if policy is not None and agent:
        try:
            start_agent(lab)
        except BaseException:
            life.down(lab)
            raise
    program = "./dev" if "POINTSMAN_RUN" in os.environ else "pointsman"
    said = f"lab `{lab.name}` is up; look around: {program} lab exec --name {lab.name} instance -- ip address"
    show.done(json, life.status(lab) if json else None, said)


@app.command(context_settings={"ignore_unknown_options": True})
def exec(  # noqa: A001
    host: Annotated[str, typer.Argument(autocompletion=_hosts)],
    argv: Annotated[list[str], typer.Argument(metavar="CMD…")],
    name: Name = None,
    uid: Annotated[int | None, typer.Option(help="Run it as this user.")] = None,
) -> None:
    """Run a command on a host of the lab.

    Example: pointsman lab exec instance -- curl http://public.example/
    """
    from pointsman.lab import names, world
    from pointsman.lab.exec import command
    from pointsman.model.problem import Invalid, Place, Problem, did_you_mean

    known = [each.name for each in world.HOSTS]
    if host not in known:
        raise Invalid([Problem(Place(), "lab-host", f"no host `{host}` in the lab", did_you_mean(host, known))])
    lab = names.lab(name or names.default_name())
    _must_stand(lab.path(host), lab.name)
    line = command(lab, host, argv, uid)
    os.execvp(line[0], line)  # noqa: S606


@app.command()
def status(name: Name = None, json: AsJson = False) -> None:
    """Show hosts, namespaces, addresses, interfaces and tunnels.

    Example: pointsman lab status --json
    """
    from pointsman.lab import life, names

    found = life.status(names.lab(name or names.default_name()))
    show.as_json(found) if json else _show(found)
    if not found["up"]:
        raise typer.Exit(1)


@app.command()
def token(
    claims: Annotated[list[str] | None, typer.Argument(metavar="[CLAIM=VALUE…]", help="JSON or text.")] = None,
    name: Name = None,
    algorithm: Annotated[str, typer.Option(help="ES256 or RS256.")] = "ES256",
    lifetime: Annotated[int, typer.Option(help="In seconds.")] = 3600,
    json: AsJson = False,
) -> None:
    """Print an identity token signed by the lab's issuer.

    Example: pointsman lab token sub=ada role=admin
    """
    from pointsman.lab import clients, names

    if algorithm not in ("ES256", "RS256"):
        raise typer.BadParameter(f"`{algorithm}` is not ES256 or RS256")
    lab = names.lab(name or names.default_name())
    _must_stand(lab.keys, lab.name)
    signed = clients.token(lab, algorithm, lifetime, **claims_of(claims or (), "CLAIM"))
    show.done(json, {"token": signed}, signed)


@app.command()
def down(name: Name = None, json: AsJson = False) -> None:
    """Take the lab down, whatever is left of it.

    Example: pointsman lab down
    """
    from pointsman.lab import life, names

    lab = names.lab(name or names.default_name())
    stood = lab.folder.exists() or lab in names.standing()
    life.down(lab)
    said = f"lab `{lab.name}` is down" if stood else f"lab `{lab.name}` was not up: nothing to take down"
    show.done(json, {"name": lab.name, "removed": stood}, said)


def _must_stand(path: Path, name: str) -> None:
    from pointsman.model.fault import Fault

    if not path.exists():
        raise Fault("lab-down", f"look into lab `{name}`", f"it is not up; try: pointsman lab up --name {name}")


def _show(found: dict[str, object]) -> None:
    console = Console()
    table = Table("host", "namespace", "interface", "addresses", "processes", title=f"lab `{found['name']}`")
    hosts = found["hosts"]
    for host in hosts if isinstance(hosts, list) else ():
        for number, link in enumerate(host["interfaces"] or [{"name": "", "addresses": []}]):
            first = (host["name"], host["namespace"]) if number == 0 else ("", "")
            count = str(len(host["processes"])) if number == 0 else ""
            table.add_row(*first, link["name"], "\n".join(link["addresses"]), count)
    console.print(table)
