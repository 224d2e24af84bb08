"""What the API proves itself by, and whom it believes: read anew when a file has changed, and then only that holds."""

import ssl

from pointsman.gateway.site import Api
from pointsman.model.fault import Fault


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
        api = self._api
        try:
            found = [path.stat() for path in (api.certificate, api.key, api.nodes)]
            seen = tuple((file.st_ino, file.st_mtime_ns) for file in found)
            if seen == self._read:
                return False
            # a new one, since a context that has read an authority believes it for good
            context = _context()
            context.load_cert_chain(api.certificate, api.key)
            context.load_verify_locations(api.nodes)
        except (OSError, ssl.SSLError) as error:
            raise Fault(
                "api-certificate", f"use `{api.certificate}`, `{api.key}` and `{api.nodes}`", str(error)
            ) from error
        self._current, self._read = context, seen
        return True

    def _pass_on(self, handshake: ssl.SSLObject, _name: str | None, _listening: ssl.SSLContext) -> None:
        """Let a handshake go by the current files. It is called for each, also for those that name no server."""
        handshake.context = self._current


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    # whoever takes up an earlier session is not asked for a certificate again
    context.num_tickets = 0
    return context
