"""Commands that check, compile, test and apply a policy."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pointsman.cli import show
from pointsman.cli.client import Client
from pointsman.cli.node import DEFAULT_RUNTIME, AsJson, Runtime

app = typer.Typer(no_args_is_help=True, help="Check, compile, test and apply a policy.")
PolicyFile = Annotated[Path, typer.Argument(metavar="FILE", help="The policy.")]
NodeFile = Annotated[Path | None, typer.Option("--node", help="Node file: its tunnels and facts take part.")]


@app.command()
def check(file: PolicyFile, node: NodeFile = None, json: AsJson = False) -> None:
    """List every problem at once, each with its place and a hint; exit 1 if there is any. Notes are no problems.

    Example: pointsman policy check examples/policy.yaml --node node.yaml
    """
    from pointsman.cli.files import checked

    found = checked(file, node)
    policy = found.loaded.policy
    if json:
        said = {"name": policy.name, "version": policy.version, "rules": len(policy.rules)}
        notes = [note.fields for note in found.notes]
        show.as_json({"valid": True, **said, "problems": [], "notes": notes})
    else:
        show.notes(found.notes)
        print(
            f"{file}: no problems; {_rules(policy.rules)}, {len(policy.profiles)} profiles, "
            f"version {policy.version[:12]}"
        )


@app.command("compile")
def compile_(
    file: PolicyFile,
    node: NodeFile = None,
    show_: Annotated[
        bool, typer.Option("--show", help="Also the order of questions, and the rules that multiply.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Compile the decision diagram and say what it costs the data plane.

    Example: pointsman policy compile examples/policy.yaml --show
    """
    import time

    from pointsman.cli.files import checked, facts_of
    from pointsman.policy.cost import cost
    from pointsman.policy.diagram import compile_policy

    loaded = checked(file, node).loaded
    begun = time.perf_counter()
    compiled = compile_policy(loaded.policy, facts_of(node))
    seconds = time.perf_counter() - begun
    found = cost(compiled.root)
    answer: dict[str, Any] = {
        "policy": loaded.policy.name,
        "version": loaded.policy.version,
        "rules": len(loaded.policy.rules),
        "seconds": round(seconds, 3),
        "leaves": found.leaves,
        "depth": found.depth,
        "order": list(compiled.order),
        "multiplied": {loaded.policy.rules[rule].name: times for rule, times in found.multiplied},
    }
    if json:
        show.as_json(answer)
        return
    print(f"{file}: {_rules(loaded.policy.rules)} make {found.leaves} leaves, at most {found.depth} deep")
    if show_:
        rows = {**answer, "order": ", ".join(compiled.order)}
        rows["multiplied"] = (
            ", ".join(f"{name} {times} times" for name, times in answer["multiplied"].items()) or "none"
        )
        show.table(f"policy {loaded.policy.name}", ("what", "how much"), list(rows.items()))


@app.command("test")
def run_tests(file: PolicyFile, cases: Annotated[Path, typer.Argument(metavar="CASES")], json: AsJson = False) -> None:
    """Run a file of requests with expected decisions; exit 1 if any differs.

    Example: pointsman policy test examples/policy.yaml examples/policy.test.yaml
    """
    from pointsman.cli.cases import run_cases

    outcomes = run_cases(file, cases)
    failed = [outcome for outcome in outcomes if not outcome.passed]
    if json:
        show.as_json(
            [{"name": o.name, "passed": o.passed, "expected": o.expected, "decided": o.decided} for o in outcomes]
        )
    else:
        show.table(
            "",
            ("case", "expected", "decided", "verdict"),
            [(o.name, o.expected, o.decided, "ok" if o.passed else "DIFFERS") for o in outcomes],
        )
        print(f"{len(outcomes) - len(failed)} passed, {len(failed)} failed")
    if failed:
        raise typer.Exit(1)


@app.command()
def apply(file: PolicyFile, runtime: Runtime = DEFAULT_RUNTIME, json: AsJson = False) -> None:
    """Put a policy in force without losing a request; a bad one changes nothing.

    Example: pointsman policy apply policy.yaml
    """
    from pointsman.cli.files import read_text

    body = {"text": read_text(file), "name": str(file), "folder": str(file.resolve().parent)}
    answer = Client(runtime, timeout=120).post("/v1/policy", body)
    if json:
        show.as_json(answer)
    else:
        print(f"policy {answer['policy']} is in force, version {answer['version'][:12]}, after {answer['seconds']} s")


def _rules(rules: Sequence[object]) -> str:
    """Say how many rules there are; the last one is the default."""
    count = len(rules) - 1
    return f"{count} rule{'' if count == 1 else 's'} and the default"
