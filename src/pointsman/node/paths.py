"""Where the agent keeps what it has. Everything private is in a folder or file of its owner alone."""

from dataclasses import dataclass
from pathlib import Path

from pointsman.system import folders


@dataclass(frozen=True, slots=True)
class Paths(folders.Folders):
    """The files that several parts of one agent share. Nothing of ours lies outside `runtime` and `state`."""

    @property
    def lock(self) -> Path:
        """Held by the running agent."""
        return self.runtime / "agent.lock"

    @property
    def memory(self) -> Path:
        """What must outlive the agent, but not the boot."""
        return self.runtime / "memory.json"

    @property
    def names(self) -> Path:
        """What DNS said, for an agent that is started again."""
        return self.runtime / "names.json"

    @property
    def envoy(self) -> Path:
        """The proxy's configuration: written by us, read by the proxy."""
        return self.runtime / "envoy"

    @property
    def proxy(self) -> Path:
        """The proxy's own folder: admin socket, logs, decision records."""
        return self.runtime / "proxy"

    @property
    def records(self) -> Path:
        """The decision records."""
        return self.proxy / "decisions.log"

    @property
    def made(self) -> Path:
        """One private file for each tunnel that a gateway was asked for."""
        return self.runtime / "made"

    @property
    def asked(self) -> Path:
        """Where the proxy asks for the tunnel of a holder."""
        return self.runtime / "asked" / "socket"

    @property
    def running(self) -> Path:
        """The records of what still runs."""
        return self.proxy / "running.log"

    @property
    def attempts(self) -> Path:
        """The records of attempts that could not connect."""
        return self.proxy / "attempts.log"

    @property
    def evidence(self) -> Path:
        """What was proven, interval by interval."""
        return self.state / "evidence.log"

    @property
    def policy(self) -> Path:
        """The policy that was last applied: what a restarted agent goes on with."""
        return self.state / "policy.json"


def prepare(paths: Paths) -> None:
    """Make the folders, also that of the tunnels: each has one of its daemon's user in there."""
    folders.prepare(paths, paths.runtime / "tunnels")
