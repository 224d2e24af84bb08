"""A real Envoy that answers with the name of the leaf that a request came to; one virtual host per diagram."""

import json
import shutil
import socket
import subprocess
import tempfile
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

from pointsman.dataplane.envoy import Object, extension, typed
from pointsman.dataplane.inputs import Coded, Host, Input, Inputs, Listed, Plain, inputs_of
from pointsman.dataplane.matcher import compile_node
from pointsman.lab.wait import until
from pointsman.model.attribute import Attribute, Value
from pointsman.model.context import Absent
from pointsman.model.diagram import Leaf, Node
from pointsman.system.envoy import binary

_BINARY = binary()
GRPC = "HTTP/2 POST application/grpc"


def inputs(attributes: tuple[Attribute, ...]) -> dict[str, Input]:
    """Return the proxy's inputs, with the host in a header of its own: the real one chooses the diagram."""
    found = inputs_of(attributes)
    return {**found, "request.host": replace(found["request.host"], header="x-host")}


@contextmanager
def running(diagrams: Mapping[str, Node], known: Inputs, filters: Iterable[Object] = ()) -> Iterator["Proxy"]:
    """Run an Envoy with these diagrams, and with these filters before the router."""
    folder = Path(tempfile.mkdtemp(prefix="readers-"))
    config, log = folder / "envoy.json", folder / "log"
    config.write_text(json.dumps(_config(diagrams, known, folder, filters)))
    with log.open("w") as errors:
        process = subprocess.Popen(
            [str(_BINARY), "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "-l", "error"],
            stderr=errors,
        )
    try:
        _await(process, folder / "http", log)
        with Proxy(folder / "http") as proxy:
            yield proxy
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder)


class Proxy:
    """One keep-alive connection to the Envoy."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = self._connected()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, name: str, method: str, headers: Mapping[str, bytes]) -> str:
        """Return the leaf that a request comes to."""
        self._connection.putrequest(method, "/", skip_host=True, skip_accept_encoding=True)
        self._connection.putheader("host", name)
        for header, value in headers.items():
            self._connection.putheader(header, value)
        self._connection.endheaders()
        answer = self._connection.getresponse()
        body = answer.read().decode()
        return body if answer.status == 200 else f"{answer.status} {body}"

    def _connected(self) -> HTTPConnection:
        connection = HTTPConnection("proxy", timeout=10)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(10)
        connection.sock.connect(str(self._path))
        return connection


def headers(facts: Mapping[str, Value | Absent], attributes: tuple[Attribute, ...], known: Inputs) -> dict[str, bytes]:
    """Return the context headers that stand for these facts."""
    found: dict[str, bytes] = {}
    for attribute in attributes:
        value = facts.get(attribute.name, Absent(""))
        entry = known.get(attribute.name)
        if entry is None or isinstance(value, Absent) or entry.header == ":method":
            continue
        text = _text(entry, value).encode()
        found[entry.header] = text
        if isinstance(entry, Plain) and entry.json:
            found[entry.json] = text
        if isinstance(entry, Listed) and entry.text:
            found[entry.text] = b64encode(text)
    return found


def _text(entry: Input, value: Value) -> str:
    match entry:
        case Coded():
            return GRPC if value == "grpc" else "HTTP/1.1 GET application/json"
        case Host():
            return f"{str(value).upper()}:8080"
        case Listed(_, beside) if isinstance(value, tuple):
            if not beside:
                return ", ".join(value)
            return json.dumps(value, ensure_ascii=len(value) == 2, separators=(",", ":"))
        case Plain() if isinstance(value, bool):
            return str(value).lower()
    return str(value)


def label(leaf: Leaf | None) -> str:
    """Return the name of a leaf."""
    return "nowhere" if leaf is None else f"{leaf.rule} {leaf.absent}".strip()


def _config(diagrams: Mapping[str, Node], known: Inputs, folder: Path, filters: Iterable[Object]) -> Object:
    def answer(leaf: Leaf) -> Object:
        response: Object = {"status": 200, "body": {"inline_string": label(leaf)}}
        route = typed("envoy.config.route.v3.Route", match={"prefix": ""}, direct_response=response)
        return {"action": extension("route", route)}

    hosts: list[Object] = [
        {"name": name, "domains": [name], "matcher": compile_node(node, known, answer)}
        for name, node in diagrams.items()
    ]
    router = typed("envoy.extensions.filters.http.router.v3.Router")
    manager = typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="readers",
        route_config={"virtual_hosts": list(hosts)},
        http_filters=[*filters, extension("envoy.filters.http.router", router)],
    )
    chain: Object = {"filters": [extension("envoy.filters.network.http_connection_manager", manager)]}
    listener: Object = {
        "name": "readers",
        "address": {"pipe": {"path": str(folder / "http")}},
        "filter_chains": [chain],
    }
    return {"static_resources": {"listeners": [listener]}}


def _await(process: "subprocess.Popen[bytes]", path: Path, log: Path) -> None:
    def answers() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"envoy ended: {log.read_text()[-300:]}")
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(path)) == 0

    until(answers, "envoy answers", log, within=60)
