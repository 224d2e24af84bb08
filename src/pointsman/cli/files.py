"""The files that commands work on: policy and node, read and checked together."""

from collections.abc import Callable, Mapping
from pathlib import Path

from pointsman.model.attribute import Value
from pointsman.model.fault import Fault
from pointsman.model.problem import Invalid, Place, Problem
from pointsman.model.tunnel import Entry
from pointsman.policy.load import Loaded, load


def checked(file: Path, node: Path | None) -> Loaded:
    """Return the policy in a file; with a node file, one whose profiles its tunnels and gateways can satisfy."""
    from pointsman.policy.check import unsatisfiable

    loaded = load(read_bytes(file), str(file), reader(file.parent))
    if node is None:
        return loaded
    from pointsman.node.boot import pool_of
    from pointsman.node.config import read_node

    config = read_node(node)
    pool_of(config, node)
    offers = [Entry(one.name, one.kind, one.level, one.labels) for one in config.gateways]
    problems = unsatisfiable(loaded.policy.profiles, config.entries, loaded.places, offers)
    if problems:
        raise Invalid(problems)
    return loaded


def facts_of(node: Path | None) -> Mapping[str, Value]:
    """Return the facts that a node file declares."""
    if node is None:
        return {}
    from pointsman.node.config import read_node

    return {f"node.{name}": value for name, value in read_node(node).facts}


def read_bytes(file: Path) -> bytes:
    """Return what a file holds, or raise `Invalid` where it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise Invalid([Problem(Place(str(file)), "unreadable", f"cannot be read: {error.strerror}")]) from error


def read_text(file: Path) -> str:
    """Return the text of a file, or raise `Invalid` where it is none."""
    try:
        return read_bytes(file).decode()
    except UnicodeDecodeError as error:
        raise Invalid([Problem(Place(str(file)), "not-utf-8", f"is not UTF-8 at byte {error.start}")]) from error


def reader(folder: Path) -> Callable[[str], bytes]:
    """Return how files next to a policy are read."""

    def read(name: str) -> bytes:
        try:
            return (folder / name).read_bytes()
        except OSError as error:
            raise Fault("unreadable", f"read `{name}`", str(error.strerror)) from error

    return read
