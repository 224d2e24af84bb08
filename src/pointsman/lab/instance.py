"""What the instance is given: its configuration and policy. And the agent, started on it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from pointsman.lab import exec as on
from pointsman.lab import world
from pointsman.lab.gateway import inner, pool_file
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.model.fault import Fault

# The greeter's port is in neither list: servers that speak first are plain TCP.
CAPTURE = {"http": [80, 8080, 8081, 50051], "auto": [7000]}


def write_node(lab: Lab, policy: Path | None, spares: int = 1) -> Path:
    """Write node.yaml, and beside it a copy of the policy; return the path of node.yaml.

    So many spare tunnels wait at each gateway before somebody has asked for one.
    """
    if policy is not None:
        shutil.copyfile(policy, lab.node / "policy.yaml")
    lab.runtime.mkdir(mode=0o711, exist_ok=True)
    lab.state.mkdir(mode=0o700, exist_ok=True)
    tunnels: list[dict[str, object]] = [
        {
            "name": gateway.tunnel,
            "kind": gateway.kind.value,
            "file": pool_file(gateway),
            "level": gateway.level.name.lower(),
            "labels": dict(gateway.labels),
            "probe": inner(gateway).gateway[0].split("/")[0],
        }
        for gateway in world.GATEWAYS
    ]
    tunnels.append(
        {"name": "direct", "kind": "direct", "device": "eth0", "level": "none", "labels": {"purpose": "plain"}}
    )
    document = {
        "apiVersion": "pointsman/v1",
        "kind": "Node",
        "name": f"{lab.name}-instance",
        "policy": "policy.yaml",
        "runtime": str(lab.runtime),
        "state": str(lab.state),
        "users": {"proxy": world.PROXY_USER, "tunnels": world.TUNNEL_USER, "exempt": []},
        "uplinks": ["eth0"],
        "capture": CAPTURE,
        "resolvers": list(world.RESOLVERS),
        "inbound": [],
        "tunnels": tunnels,
        "gateways": [_gateway(gateway, spares) for gateway in world.GATEWAYS],
    }
    path = lab.node / "node.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def _gateway(gateway: world.Gateway, spares: int) -> dict[str, object]:
    """Return how the instance asks a gateway for more tunnels of its kind."""
    return {
        "name": gateway.host,
        "kind": gateway.kind.value,
        "level": gateway.level.name.lower(),
        "labels": dict(gateway.labels),
        "address": gateway.endpoint.address,
        "ca": "gateway-ca.crt",
        "certificate": "node.crt",
        "key": "node.key",
        "spares": {"least": spares},
    }


def start_agent(lab: Lab, *options: str) -> subprocess.Popen[bytes]:
    """Start the agent on the instance with what `write_node` wrote, and return once its tunnels are up.

    Its output goes to the log `agent`. `options` are more of `pointsman up`.
    """
    argv = [sys.executable, "-m", "pointsman", "up", "-c", str(lab.node / "node.yaml"), *options]
    agent = on.start(lab, world.INSTANCE, argv, "agent")
    ready = lab.runtime / "ready"
    until(
        lambda: agent.poll() is not None or (ready.exists() and ready.read_text() == str(agent.pid)),
        "the agent is ready",
        lab.log(world.INSTANCE, "agent"),
        within=30,
    )
    if agent.poll() is not None:
        words = lab.log(world.INSTANCE, "agent").read_text(errors="replace").strip().splitlines()[-8:]
        raise Fault("agent-ended", f"start the agent of lab `{lab.name}`", "\n".join(words))
    return agent


def reached(lab: Lab) -> list[dict[str, object]]:
    """Return everything that reached the origin, in order."""
    return [json.loads(line) for line in lab.requests.read_text().splitlines()]


def agent_status(lab: Lab) -> Any:
    """Return what the agent says of itself, as `pointsman status --json` does."""
    return on.told(lab.runtime, "/v1/status")


def leases(lab: Lab) -> Any:
    """Return who holds which tunnel, as `pointsman leases list --json` does."""
    return on.told(lab.runtime, "/v1/leases")


def rotate(lab: Lab, tunnel: str) -> str:
    """Have a tunnel with new keys take a tunnel's place; return its name."""
    return str(on.told(lab.runtime, "/v1/leases/rotate", {"tunnel": tunnel})["tunnel"])


def revoke(lab: Lab, profile: str, holder: str, ban: float) -> None:
    """Take a holder's tunnel away; for `ban` seconds there is no other."""
    on.told(lab.runtime, "/v1/leases/revoke", {"profile": profile, "holder": holder, "ban": ban})
