"""This host as the gateway changes it: servers, guard, forwarding. It looks, compares, and takes the steps between.

Shut first, open last: a tunnel's guard entries go when its session has ended and its connections are forgotten, and
what is left of a step that was not taken to its end shows in them, so that the next turn takes it again. A server
that is stuck holds up no other.
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

Sight = Mapping[Kind, Seen]


class House:
    """Remembers only the rules that it put there last, to tell whether anybody changed them."""

    def __init__(self, gateway: Gateway, servers: Iterable[TunnelServer], sysctls: Path) -> None:
        self._gateway = gateway
        self._servers: Mapping[Kind, TunnelServer] = {server.site.kind: server for server in servers}
        self._devices = {str(site.kind): site.device for site in gateway.servers}
        self._sysctls = sysctls
        self._rules = ""

    def tend(self, state: State) -> Sight:
        """Bring up and mend everything, the guard first and forwarding last; return what is there then."""
        self._guard(state)
        stuck: dict[Kind, Seen] = {}
        for kind, server in self._servers.items():
            try:
                server.start()
            except Fault as fault:
                stuck[kind] = Seen(str(fault))
        forwarding.forward(self._gateway, self._sysctls)
        return {**self.settle(state), **stuck}

    def settle(self, state: State) -> Sight:
        """Make tunnels what the state says, and return what is there then."""
        found = self._guard(state)
        wanted = guard.entries(state.grants.values(), self._devices)
        missing, spare = wanted - found, found - wanted
        if missing:
            replaced = guard.displaced(spare, missing)
            spare -= replaced
            # a number that is given out again must not inherit connections
            conntrack.forget(guard.numbers(missing | replaced))
            nft.apply_rules(guard.change_text(missing, replaced))
        seen = {kind: self._served(kind, state) for kind in self._servers}
        if spare:
            conntrack.forget(guard.numbers(spare))
            nft.apply_rules(guard.change_text((), spare))
        if found != wanted and self._found().entries != wanted:
            raise Fault("gateway-drift", "change the guard", "it is not as it was told to be")
        return seen

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
        items = nft.list_table(*_TABLE)
        if items is not None:
            conntrack.forget(guard.numbers(guard.understand(items).entries))
        nft.apply_rules(guard.removal_text())
        self._rules = ""
        return tuple(faults)

    def _served(self, kind: Kind, state: State) -> Seen:
        """Make one server know its tunnels and no others, and return what it has then."""
        server = self._servers[kind]
        try:
            seen = server.observe()
            put, drop = self._difference(kind, state, seen)
            if not put and not drop:
                return seen
            server.change(put, drop)
            seen = server.observe()
            if any(self._difference(kind, state, seen)):
                return Seen("it does not know its tunnels as it was told to", seen.entries, seen.traffic)
        except Fault as fault:
            return Seen(str(fault))
        return seen

    def _difference(self, kind: Kind, state: State, seen: Seen) -> tuple[tuple[Grant, ...], tuple[str, ...]]:
        """Return the tunnels that a server does not know as it should, and whom it knows without a tunnel."""
        server = self._servers[kind]
        wanted = {grant.identity: grant for grant in state.of(kind)}
        put = tuple(grant for name, grant in wanted.items() if seen.entries.get(name) != server.entry(grant))
        drop = (seen.entries.keys() | seen.traffic.keys()) - wanted.keys()
        return put, tuple(sorted(drop))

    def _guard(self, state: State) -> frozenset[guard.Entry]:
        """Return the entries of the guard, after it was put in place anew where somebody changed its rules."""
        items = nft.list_table(*_TABLE)
        found = guard.understand(items or ())
        if items is not None and self._rules and found.rules == self._rules:
            return found.entries
        present = guard.entries(state.grants.values(), self._devices)
        # what stands for connections that are to be forgotten stays until they are
        spare = found.entries - present
        replaced = guard.displaced(spare, present)
        conntrack.forget(guard.numbers(replaced))
        forgotten = frozenset(entry for entry in spare - replaced if guard.numbers([entry]))
        nft.apply_rules(guard.base_text(self._gateway, present | forgotten, nft.read_counters(_TABLE)))
        renewed = self._found()
        self._rules = renewed.rules
        return renewed.entries

    def _found(self) -> guard.Found:
        items = nft.list_table(*_TABLE)
        if items is None:
            raise Fault("guard-gone", "look at the guard", "somebody removed it")
        return guard.understand(items)
