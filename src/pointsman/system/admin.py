"""Envoy's admin interface over its private socket: is it ready, what version does it run, what has it counted."""

import http.client
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from pointsman.model.fault import Fault

_PREFIX = {"cds": "cluster_manager.cds", "lds": "listener_manager.lds", "rds": "http.egress.rds.egress"}
_FILTERS = "extension_config_discovery.http_filter."


@dataclass(frozen=True, slots=True)
class Applied:
    """The version in effect, empty for none yet, and how many files Envoy has refused or could not read."""

    version: str = ""
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Admin:
    """The admin interface behind this socket."""

    path: str

    def ready(self) -> bool:
        """Return whether Envoy has its configuration and serves."""
        try:
            return self.ask("GET", "/ready").strip() == "LIVE"
        except Fault:
            return False

    def applied(self) -> Mapping[str, Applied]:
        """Return what became of the resources, by kind (`cds`, `lds`, `rds`, `ecds/NAME`), as far as there are any."""
        wanted = f"^({'|'.join(_PREFIX.values())}|{_FILTERS}.+).(version_text|update_rejected|update_failure)$"
        found: dict[str, dict[str, str]] = {}
        for line in self.ask("GET", f"/stats?filter={quote(wanted)}").splitlines():
            name, _, value = line.partition(": ")
            prefix, _, what = name.rpartition(".")
            found.setdefault(_kind(prefix), {})[what] = value
        return {
            kind: Applied(
                told.get("version_text", "").strip('"'),
                int(told.get("update_rejected", 0)) + int(told.get("update_failure", 0)),
            )
            for kind, told in found.items()
        }

    def reopen_logs(self) -> None:
        """Have Envoy open its log files anew, after they were moved away."""
        self.ask("POST", "/reopen_logs")

    def ask(self, method: str, target: str) -> str:
        """Return the answer to one question."""
        connection = _Local(self.path)
        try:
            connection.request(method, target)
            answer = connection.getresponse()
            text = answer.read().decode()
        except TimeoutError as error:
            raise Fault(
                "envoy-busy", f"ask envoy for {target}", f"no answer within {connection.timeout:.0f} s"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise Fault("envoy-admin", f"ask envoy for {target}", str(error)) from error
        finally:
            connection.close()
        if answer.status != 200 and target != "/ready":
            raise Fault("envoy-admin", f"ask envoy for {target}", f"{answer.status} {text[:200]}")
        return text


class _Local(http.client.HTTPConnection):
    """HTTP over a local socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _kind(prefix: str) -> str:
    named = {prefix: kind for kind, prefix in _PREFIX.items()}
    return named.get(prefix) or f"ecds/{prefix.removeprefix(_FILTERS)}"
