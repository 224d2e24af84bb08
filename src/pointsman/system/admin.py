"""Envoy's admin interface over its private socket: is it ready, what version does it run, what has it counted."""

import http.client
import socket
from dataclasses import dataclass

from pointsman.model.fault import Fault

_PREFIX = {"cds": "cluster_manager.cds", "lds": "listener_manager.lds", "rds": "http.egress.rds.egress"}


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

    def version(self, kind: str) -> str:
        """Return the version of the resources in effect (`cds`, `lds`, `rds`, `ecds/NAME`); empty for none yet."""
        wanted = f"{_prefix(kind)}.version_text"
        listed = self.ask("GET", f"/stats?type=TextReadouts&filter=^{wanted}$")
        return _value(listed, wanted).strip('"')

    def refused(self, kind: str) -> int:
        """Return how many files of this kind Envoy has refused, or could not read."""
        rejected, failed = (f"{_prefix(kind)}.update_{what}" for what in ("rejected", "failure"))
        listed = self.ask("GET", f"/stats?filter=^{_prefix(kind)}.update_(rejected|failure)$")
        return int(_value(listed, rejected) or 0) + int(_value(listed, failed) or 0)

    def stats(self, pattern: str) -> str:
        """Return the counters whose names match, in Prometheus' text format."""
        return self.ask("GET", f"/stats/prometheus?usedonly&filter={pattern}")

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


def _prefix(kind: str) -> str:
    return _PREFIX.get(kind) or f"extension_config_discovery.http_filter.{kind.removeprefix('ecds/')}"


def _value(listed: str, name: str) -> str:
    for line in listed.splitlines():
        key, _, value = line.partition(": ")
        if key == name:
            return value.strip()
    return ""
