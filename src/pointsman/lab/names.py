"""What belongs to which lab: names of namespaces, and the lab's own folder."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from pointsman.lab import world
from pointsman.model.problem import Invalid, Place, Problem

ROOT = Path("/run/pointsman-lab")
NAMESPACES = Path("/run/netns")
_PREFIX = "pm-"


@dataclass(frozen=True, slots=True)
class Lab:
    """One lab, known by its name alone; whether it stands is a question to the system."""

    name: str

    @property
    def folder(self) -> Path:
        """Everything that the lab writes: gone when the lab is."""
        return ROOT / self.name

    @property
    def keys(self) -> Path:
        """Private keys and certificates of gateways and token issuer (0700)."""
        return self.folder / "keys"

    @property
    def node(self) -> Path:
        """What the instance is given: node.yaml, policy, pool files, public keys."""
        return self.folder / "node"

    @property
    def runtime(self) -> Path:
        """The agent's runtime folder on the instance."""
        return self.folder / "node" / "run"

    @property
    def state(self) -> Path:
        """What the agent keeps on disk."""
        return self.folder / "node" / "state"

    @property
    def requests(self) -> Path:
        """One JSON line per request or connection that reached the origin."""
        return self.home(world.ORIGIN) / "requests.jsonl"

    def home(self, host: str) -> Path:
        """The files of one host: its own /run/wireguard, /etc/hosts, logs."""
        return self.folder / host

    def log(self, host: str, what: str) -> Path:
        """Where a process of this host writes its output."""
        return self.home(host) / f"{what}.log"

    def namespace(self, host: str) -> str:
        """The network namespace of a host."""
        return f"{_PREFIX}{self.name}-{host}"

    def path(self, host: str) -> Path:
        """The file that holds the network namespace of a host."""
        return NAMESPACES / self.namespace(host)


def lab(name: str) -> Lab:
    """Return the lab of this name, or say what is wrong with the name."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,19}", name):
        what = f"`{name}` cannot name a lab"
        raise Invalid(
            [Problem(Place(), "lab-name", what, "use up to 20 of a-z, 0-9 and -, starting with a letter or digit")]
        )
    return Lab(name)


def default_name() -> str:
    """Return the name of the lab where none is given: a run of `dev` has its own."""
    return os.environ.get("POINTSMAN_RUN", "lab")


def run_name() -> str:
    """Return what the names of this run begin with: the run of `dev`, or this process. It ends in a process id."""
    return os.environ.get("POINTSMAN_RUN") or f"r{os.getpid()}"


def standing() -> tuple[Lab, ...]:
    """Return all labs of which a namespace or the folder is left, complete or not."""
    found = {path.name for path in ROOT.iterdir()} if ROOT.is_dir() else set()
    spaces = (path.name for path in NAMESPACES.iterdir()) if NAMESPACES.is_dir() else iter(())
    for space in spaces:
        for host in world.HOSTS:
            if space.startswith(_PREFIX) and space.endswith(f"-{host.name}"):
                found.add(space.removeprefix(_PREFIX).removesuffix(f"-{host.name}"))
    return tuple(Lab(name) for name in sorted(found))
