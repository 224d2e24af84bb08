"""Which commands there are. Each module is loaded with the command line, what it works with only when it runs."""

import typer

from pointsman.cli import decisions, demo, doctor, explain, gateway, lab, leases, node, policy, verify


def commands(app: typer.Typer) -> None:
    """Add every command to the program."""
    app.command()(node.up)
    app.command()(node.down)
    app.command()(node.close)
    app.command()(node.confirm)
    app.command("break-glass")(node.break_glass)
    app.command()(node.status)
    app.command()(node.tunnels)
    app.command()(verify.verify)
    app.command()(explain.explain)
    app.command()(doctor.doctor)
    app.command()(demo.demo)
    app.add_typer(policy.app, name="policy")
    app.add_typer(decisions.app, name="decisions")
    app.add_typer(leases.app, name="leases")
    app.add_typer(gateway.app, name="gateway")
    app.add_typer(lab.app, name="lab")
