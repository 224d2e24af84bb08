"""This host as the gateway changes it: servers, guard, forwarding. It looks, compares, and takes the steps between.

Shut first, open last: a tunnel's guard entries go when its session has ended and its connections are forgotten, and
what is left of a step that was not taken to its end shows in them, so that the next turn takes it again.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from pointsman.gateway import forwarding, guard
from pointsman.gateway.grant import Grant, State
from pointsman.gateway.server import Seen, TunnelServer
from pointsman.gateway.site import Gateway
from pointsman.model.fault import Fault
from pointsman.model.tunnel import Kind
from pointsman.system import conntrack, nft
from pointsman.tunnels.drivers import link

_TABLE = ("inet", guard.TABLE)


class House:
    """Remembers only the rules that it put there last, to tell whether anybody changed them."""

    def __init__(self, gateway: Gateway, servers: Iterable[TunnelServer], sysctls: Path) -> None:
        self._gateway = gateway
        self._servers: Mapping[Kind, TunnelServer] = {server.site.kind: server for server in servers}
        self._devices = {str(site.kind): site.device for site in gateway.servers}
        self._sysctls = sysctls
        self._rules = ""

    def start(self, state: State) -> None:
        """Bring up what does not depend on tunnels: the guard first, then the servers, and forwarding last."""
        self._mend_guard(state)
        for server in self._servers.values():
            server.start()
        forwarding.forward(self._gateway, self._sysctls)

    def settle(self, state: State) -> Mapping[Kind, Seen]:
        """Make the host what the state says, and return what is there then."""
        self._mend_guard(state)
        seen = {kind: server.observe() for kind, server in self._servers.items()}
        changes = {kind: self._change(kind, state, seen[kind]) for kind in seen}
        wanted = guard.entries(state.grants.values(), self._devices)
        found = self._found().entries
        spare = found - wanted
        missing = wanted - found
        if not spare and not missing and not any(put or drop for put, drop in changes.values()):
            return seen
        # a number that is given out again must not inherit connections
        conntrack.forget(guard.numbers(missing))
        if missing:
            nft.apply_rules(guard.change_text(missing, ()))
        for kind, (put, drop) in changes.items():
            if put or drop:
                self._servers[kind].change(put, drop)
        conntrack.forget(guard.numbers(spare))
        if spare:
            nft.apply_rules(guard.change_text((), spare))
        return self._verified(state, wanted)

    def counters(self) -> dict[str, int]:
        """Return how many packets the guard dropped, by why."""
        return {name: packets for name, (packets, _) in nft.read_counters(_TABLE).items()}

    def traffic(self) -> tuple[int, int]:
        """Return the bytes that came out of all tunnels and went into them since their devices were made."""
        moved = [link.traffic(device) for device in self._devices.values()]
        return sum(received for received, _ in moved), sum(sent for _, sent in moved)

    def remove(self) -> tuple[Fault, ...]:
        """Take everything down, the guard last; return what failed."""
        faults: list[Fault] = []
        for server in self._servers.values():
            try:
                server.stop()
            except Fault as fault:
                faults.append(fault)
        forwarding.restore(self._sysctls)
        nft.apply_rules(guard.removal_text())
        self._rules = ""
        return tuple(faults)

    def _mend_guard(self, state: State) -> None:
        items = nft.list_table(*_TABLE)
        if items is not None and self._rules and guard.understand(items).rules == self._rules:
            return
        present = guard.entries(state.grants.values(), self._devices)
        orphans = guard.understand(items).entries - present if items is not None else frozenset()
        # what stands for connections that are to be forgotten stays until they are
        kept = present | frozenset(entry for entry in orphans if guard.numbers([entry]))
        nft.apply_rules(guard.base_text(self._gateway, kept, nft.read_counters(_TABLE)))
        self._rules = self._found().rules

    def _found(self) -> guard.Found:
        items = nft.list_table(*_TABLE)
        if items is None:
            raise Fault("guard-gone", "look at the guard", "somebody removed it")
        return guard.understand(items)

    def _change(self, kind: Kind, state: State, seen: Seen) -> tuple[tuple[Grant, ...], tuple[str, ...]]:
        """Return the tunnels that a server does not know as it should, and whom it knows without a tunnel."""
        server = self._servers[kind]
        wanted = {grant.identity: grant for grant in state.of(kind)}
        put = tuple(grant for name, grant in wanted.items() if seen.entries.get(name) != server.entry(grant))
        drop = (seen.entries.keys() | seen.traffic.keys()) - wanted.keys()
        return put, tuple(sorted(drop))

    def _verified(self, state: State, wanted: frozenset[guard.Entry]) -> Mapping[Kind, Seen]:
        seen = {kind: server.observe() for kind, server in self._servers.items()}
        stuck = [kind for kind in seen if any(self._change(kind, state, seen[kind]))]
        if stuck or self._found().entries != wanted:
            what = ", ".join(stuck) or "the guard"
            raise Fault("gateway-drift", "make the tunnels what they should be", f"{what} is not as it was told to be")
        return seen
