"""The OpenVPN server: one daemon for all tunnels. Who has no file in its folder of clients is not let in.

The folder is root's; the daemon, which may only read it, gets it as an open file, since it cannot pass through the
folders above. A tunnel ends by its file going away and a word at the management socket: nothing is started anew.
"""

import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pointsman.gateway.grant import Grant
from pointsman.gateway.keys import Authority
from pointsman.gateway.openvpn_config import client_text, server_text
from pointsman.gateway.server import Seen, Traffic
from pointsman.gateway.site import Server
from pointsman.model.fault import Fault
from pointsman.system import netlink
from pointsman.system.files import replace_file
from pointsman.tunnels.drivers import child, link, management
from pointsman.tunnels.drivers.files import held_text
from pointsman.tunnels.ovpn_config import MANAGEMENT_SOCKET
from pointsman.tunnels.port import Berth

_LOWEST_FREE_PORT = 1024
_STATUS = (b"status 3\n", b"\nEND\r\n")


class OpenvpnServer:
    """One OpenVPN daemon and the folder of its clients."""

    def __init__(self, site: Server, berth: Berth, authority: Authority, most: int) -> None:
        self.site = site
        self._berth = berth
        self._authority = authority
        self._most = most
        self._clients = berth.folder / "clients"

    def start(self) -> None:
        """Start the daemon, or adopt the one that runs by the same configuration."""
        text = self._text("")
        digest = hashlib.sha256(text.encode()).hexdigest()
        living = child.find(self._berth)
        if living is None or living.digest != digest or link.look(self._berth.link) is None:
            child.end(self._berth)
            self._launch(digest)
        found = link.look(self._berth.link)
        if found is None or not link.dressed_as(found, self._berth, self.site.pool.gateway, self.site.mtu):
            link.dress(self._berth, self.site.pool.gateway, self.site.mtu)
        netlink.reach(self.site.pool.networks, self._berth.link)
        child.bound_log(self._berth)

    def observe(self) -> Seen:
        """Say which clients are let in, and what those that are there have sent."""
        found = link.look(self._berth.link)
        if found is None or child.find(self._berth) is None:
            return Seen(child.last_words(self._berth) or "the daemon is not there")
        told = management.converse(self._socket, _STATUS)
        entries = {path.name: path.read_text("ascii") for path in self._files()}
        ready = link.dressed_as(found, self._berth, self.site.pool.gateway, self.site.mtu)
        return Seen("" if ready else "the link is not set up", entries, connected(told, time.time()))

    def entry(self, grant: Grant) -> str:
        """Return the file of a client."""
        return client_text(self.site, grant)

    def change(self, put: Iterable[Grant], drop: Iterable[str]) -> None:
        """Let clients in, and others no longer; what is open of the latter ends."""
        for grant in put:
            replace_file(self._clients / grant.identity, self.entry(grant).encode(), 0o640)
        gone = tuple(drop)
        for identity in gone:
            (self._clients / identity).unlink(missing_ok=True)
        if gone:
            told = ((f"kill {identity}\n".encode(), b"SUCCESS: ") for identity in gone)
            management.converse(self._socket, *told)

    def stop(self) -> None:
        """End the daemon."""
        child.end(self._berth)
        link.remove(self._berth)
        child.clear(self._berth)

    @property
    def _socket(self) -> Path:
        return self._berth.folder / "work" / MANAGEMENT_SOCKET

    def _files(self) -> Iterator[Path]:
        return self._clients.iterdir() if self._clients.is_dir() else iter(())

    def _text(self, clients: str) -> str:
        own = self._authority.server
        blocks = {"ca": self._authority.certificate, "cert": own.certificate, "key": own.key}
        return server_text(self.site, blocks, self._berth.link, clients, self._most)

    def _launch(self, digest: str) -> None:
        (child.prepare(self._berth) / MANAGEMENT_SOCKET).unlink(missing_ok=True)
        link.make_tun(self._berth)
        port = self.site.endpoint.port
        with self._readable() as folder:
            text = held_text(self._text(f"/proc/self/fd/{folder}"))
            try:
                command = child.Command(
                    ("openvpn", "--config", "stdin"),
                    capabilities=("net_bind_service",) if port < _LOWEST_FREE_PORT else (),
                    pass_fds=(folder,),
                    stdin=text,
                    tun=True,
                )
                child.launch(self._berth, digest, command)
            finally:
                os.close(text)
        self._await_answer()

    @contextmanager
    def _readable(self) -> Iterator[int]:
        """Open the folder of clients, which the daemon's group may read. It keeps its place as long as the daemon."""
        self._clients.mkdir(mode=0o750, exist_ok=True)
        os.chown(self._clients, 0, self._berth.gid)
        # files in it belong to the same group
        self._clients.chmod(0o2750)
        folder = os.open(self._clients, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield folder
        finally:
            os.close(folder)

    def _await_answer(self) -> None:
        until = time.monotonic() + 5.0
        while True:
            try:
                management.converse(self._socket, _STATUS)
                return
            except Fault as fault:
                if child.find(self._berth) is None or time.monotonic() > until:
                    raise Fault(fault.label, fault.tried, child.last_words(self._berth) or fault.why) from fault
                time.sleep(0.01)


def connected(told: str, now: float) -> dict[str, Traffic]:
    """Return who is connected by an answer to `status 3` (tab-separated, times in seconds since 1970)."""
    columns: list[str] = []
    found: dict[str, Traffic] = {}
    for line in told.splitlines():
        words = line.split("\t")
        if words[:2] == ["HEADER", "CLIENT_LIST"]:
            columns = words[2:]
        elif words[0] == "CLIENT_LIST":
            said = dict(zip(columns, words[1:], strict=False))
            since = float(said.get("Connected Since (time_t)", now))
            received, sent = (int(said.get(name, 0)) for name in ("Bytes Received", "Bytes Sent"))
            found[said.get("Common Name", "")] = Traffic(max(0.0, now - since), received, sent)
    # whoever has not proved who it is yet has no name
    found.pop("UNDEF", None)
    return found
