"""A keeper whose host is a fake that is told how to fail."""

import time
from collections.abc import Iterator
from pathlib import Path

from pointsman.gateway.grant import State
from pointsman.gateway.house import House, Sight
from pointsman.gateway.keeper import Keeper
from pointsman.gateway.keys import Authority, Secrets
from pointsman.gateway.server import Seen
from pointsman.model.fault import Fault
from pointsman.model.tunnel import Kind
from pointsman.system.certificates import authority, issue
from pointsman.system.log import Log
from tests.unit.gateway.samples import SITE, key

CA = authority("tunnels", 1)
SECRETS = Secrets(key(9), Authority(CA, issue(CA, "gw", server=True, days=1)))


class Host(House):
    """Remembers what it was told to be, instead of being it. `says` are its next answers; then all is well."""

    def __init__(self) -> None:
        super().__init__(SITE, (), Path("/nowhere"))
        self.was: list[State] = []
        self.says: Iterator[str | Fault] = iter(())

    def tend(self, state: State) -> Sight:
        return self.settle(state)

    def settle(self, state: State) -> Sight:
        time.sleep(0.001)  # it runs in a thread, and others may come meanwhile
        self.was.append(state)
        said = next(self.says, "")
        if isinstance(said, Fault):
            raise said
        return {kind: Seen(said) for kind in Kind}


def keeper(host: Host, folder: Path) -> Keeper:
    return Keeper(SITE, host, folder / "grants.json", SECRETS, Log())
