"""The few words of Envoy's configuration language that all its resources are written with."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Object = dict[str, Json]

TYPES = "type.googleapis.com/"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the proxy's files need to know of the node.

    `folder` is where they lie, `state` a folder of the proxy's own for its admin socket and what runs;
    `access_log` tells what ended. To `observe` is to record what is decided, and to hold nothing. `asked` is the
    agent's socket for requests without a tunnel, empty for none.
    """

    folder: str
    state: str
    access_log: str
    node: str = "node"
    ipv6: bool = True
    most_connections: int = 8000
    heap_bytes: int = 1 << 30
    observe: bool = False
    asked: str = ""

    @property
    def admin(self) -> str:
        """Return the path of the admin socket."""
        return f"{self.state}/admin.sock"

    @property
    def running_log(self) -> str:
        """Return the path of the records of what still runs."""
        return f"{self.state}/running.log"

    @property
    def attempts_log(self) -> str:
        """Return the path of the records of attempts that could not connect."""
        return f"{self.state}/attempts.log"


def typed(kind: str, /, **fields: Json) -> Object:
    """Return a message of this type."""
    return {"@type": TYPES + kind, **fields}


def extension(name: str, config: Object) -> Object:
    """Return an extension under its name."""
    return {"name": name, "typed_config": config}


def watched(settings: Settings, kind: str, name: str = "") -> Object:
    """Return the source of resources of this kind: a file in the kind's folder, replaced by renaming."""
    folder = f"{settings.folder}/{kind}"
    return {"path_config_source": {"path": f"{folder}/{name or kind}.json", "watched_directory": {"path": folder}}}


def discovered(settings: Settings, name: str, config: Object) -> Object:
    """Return a filter whose configuration lies in a file of its own: it changes without its listener and neighbours.

    Where the file is missing, Envoy refuses the listener.
    """
    source: Json = {"config_source": watched(settings, "ecds", name), "type_urls": [config["@type"]]}
    return {"name": name, "config_discovery": source}


def text(value: Json | Mapping[str, Json]) -> str:
    """Return a value as JSON, the same text for the same value."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False) + "\n"
