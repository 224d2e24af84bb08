"""What `doctor` looks at in the files that a node file names: who may read them, and what they leave out."""

from pathlib import Path

from pointsman.model.fault import Fault
from pointsman.model.problem import Invalid, Place
from pointsman.node import files
from pointsman.node.config import Node
from pointsman.node.coverage import uncovered
from pointsman.node.findings import Finding, carried_findings
from pointsman.node.paths import Paths
from pointsman.node.trees import compile_trees
from pointsman.tunnels.drivers.files import read_text
from pointsman.tunnels.pool import load_pool


def modes(node: Node) -> dict[str, int | None]:
    """Return the permissions of all files of tunnels, or that those name in turn, and of those with secrets.

    None stands for a file that is not there.
    """
    names: list[str] = []

    def read(path: str) -> str:
        names.append(path)
        return read_text(path)

    try:
        load_pool(((entry, Place()) for entry in node.entries), read)
    except Invalid:
        pass  # what is wrong with the files is for `up` to say; here it is who may read them
    names += [gateway.secret for gateway in node.gateways if gateway.secret]
    return {name: Path(name).stat().st_mode & 0o777 if Path(name).exists() else None for name in names}


def carried(node: Node) -> list[Finding]:
    """Judge what the tunnels' files leave out; where a file is wrong, `policy check` and `up` say what is."""
    try:
        pool, (_, policy, _), _ = files.named(node, Paths(node.runtime, node.state).policy)
    except Invalid:
        return [Finding("AllowedIPs", "warning", "not looked at: one of the node's files is wrong")]
    except (Fault, OSError) as failed:
        return [Finding("AllowedIPs", "warning", f"not looked at: {failed}")]
    return carried_findings(uncovered(policy, pool.supplies, lambda: compile_trees(policy, node).compiled))
