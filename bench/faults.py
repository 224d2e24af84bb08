"""What befalls a node in a soak: one fault at a time, each undone by itself or at its end."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.swallowed import swallowing
from pointsman.lab import exec as on
from pointsman.lab import gateway, instance, world
from pointsman.lab.names import Lab
from pointsman.model.tunnel import Kind

DAEMONS = {Kind.WIREGUARD: "wireguard-go", Kind.OPENVPN: "openvpn"}
_LONGEST = 3.0


@dataclass
class Struck:
    """A lab, the agent that runs there now, and the dice."""

    lab: Lab
    agent: "subprocess.Popen[bytes]"
    dice: random.Random


@contextmanager
def agent_killed(struck: Struck) -> Iterator[str]:
    """Kill the agent; another one is started."""
    os.killpg(struck.agent.pid, signal.SIGKILL)
    struck.agent.wait(20)
    try:
        yield "the agent"
    finally:
        struck.agent = instance.start_agent(struck.lab)


@contextmanager
def proxy_killed(struck: Struck) -> Iterator[str]:
    """Kill the proxy; the agent starts it again."""
    _kill(struck.lab, world.INSTANCE, ("envoy",), struck.dice)
    yield "the proxy"


@contextmanager
def gateway_killed(struck: Struck) -> Iterator[str]:
    """Kill the process of a gateway; what it made stays, and another one is started."""
    far = struck.dice.choice(world.GATEWAYS)
    _kill(struck.lab, far.host, ("python", "python3", "pointsman"), struck.dice)
    try:
        yield f"the process of {far.host}"
    finally:
        gateway.await_gateway(struck.lab, far, gateway.start_gateway(struck.lab, far))


@contextmanager
def gateway_silent(struck: Struck) -> Iterator[str]:
    """Let a gateway take in nothing."""
    far = struck.dice.choice(world.GATEWAYS)
    with swallowing(struck.lab, far.host):
        yield f"the network of {far.host}"


@contextmanager
def far_daemon_killed(struck: Struck) -> Iterator[str]:
    """Kill the daemon that is the far end of a gateway's tunnel in the pool; the gateway starts it again."""
    far = struck.dice.choice(world.GATEWAYS)
    _kill(struck.lab, far.host, (DAEMONS[far.kind],), struck.dice)
    yield f"the daemon of {far.host}"


@contextmanager
def near_daemon_killed(struck: Struck) -> Iterator[str]:
    """Kill the daemon of one tunnel on the instance; the agent starts it again."""
    _kill(struck.lab, world.INSTANCE, tuple(DAEMONS.values()), struck.dice)
    yield "a tunnel's daemon"


FAULTS = (agent_killed, proxy_killed, gateway_killed, gateway_silent, far_daemon_killed, near_daemon_killed)
# While the proxy is away nobody can take a request to a backup
NO_BACKUP = (proxy_killed,)


def endure(struck: Struck) -> None:
    """Let the fault last for a while."""
    time.sleep(struck.dice.uniform(0.2, _LONGEST))


def _kill(lab: Lab, host: str, programs: tuple[str, ...], dice: random.Random) -> None:
    """Kill one of the processes of a host that run one of these programs."""
    found = [pid for pid in on.processes(lab, host) if pid != os.getpid() and _program(pid) in programs]
    if found:
        os.kill(dice.choice(sorted(found)), signal.SIGKILL)


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:  # it ended meanwhile
        return ""
