"""What the API proves itself by, and whom it believes: read anew when a file has changed, and then only that holds."""

import ssl
from datetime import UTC, datetime

from pointsman.gateway.site import Api
from pointsman.model.fault import Fault
from pointsman.system.credentials import Files, look


class Credentials:
    """The TLS side of the API. `context` is what to listen with: each handshake goes by what was read last."""

    def __init__(self, api: Api) -> None:
        self.context = _context()
        self.context.sni_callback = self._pass_on
        self._api = api
        self._current = self.context
        self._read: tuple[tuple[int, int], ...] = ()

    def refresh(self) -> bool:
        """Read the files if they have changed, and return whether they had; raise `Fault` where they cannot be used."""
        files = files_of(self._api)
        tried = f"use `{files.certificate}`, `{files.key}` and `{files.authority}`"
        seen = _stamps(files)
        if seen and seen == self._read:
            return False
        if why := look(files, server=True, now=datetime.now(UTC)).unusable:
            raise Fault("api-certificate", tried, why)
        try:
            # a new one, since a context that has read an authority believes it for good
            context = _context()
            context.load_cert_chain(files.certificate, files.key)
            context.load_verify_locations(files.authority)
        except (OSError, ssl.SSLError) as error:
            raise Fault("api-certificate", tried, str(error)) from error
        self._current, self._read = context, seen
        return True

    def _pass_on(self, handshake: ssl.SSLObject, _name: str | None, _listening: ssl.SSLContext) -> None:
        """Let a handshake go by the current files. It is called for each, also for those that name no server."""
        handshake.context = self._current


def files_of(api: Api) -> Files:
    """Return the files by which the API proves itself, and believes nodes."""
    return Files(api.certificate, api.key, api.nodes)


def _stamps(files: Files) -> tuple[tuple[int, int], ...]:
    """Return what changes when one of the files does; nothing where one is not there."""
    try:
        found = [path.stat() for path in (files.certificate, files.key, files.authority)]
    except OSError:
        return ()
    return tuple((file.st_ino, file.st_mtime_ns) for file in found)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    # whoever takes up an earlier session is not asked for a certificate again
    context.num_tickets = 0
    return context
