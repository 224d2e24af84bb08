"""The files that commands work on: policy and node, read and checked together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pointsman.model.attribute import Value
from pointsman.model.fault import Fault
from pointsman.model.problem import Invalid, Place, Problem
from pointsman.policy.load import Judged, Loaded, judge


@dataclass(frozen=True, slots=True)
class Checked:
    """A checked policy, and what is worth knowing of the node's files though it is not wrong."""

    loaded: Loaded
    notes: tuple[Problem, ...] = ()


def checked(file: Path, node: Path | None) -> Checked:
    """Return the policy in a file; with a node file, one whose profiles its tunnels and gateways can satisfy.

    Raises `Invalid` with all that is wrong with any of these files.
    """
    judged = _judged(file)
    if node is None and judged.loaded is not None:
        return Checked(judged.loaded)
    if node is None:
        raise Invalid(judged.problems)
    from pointsman.node import files

    config, pool, loaded = files.check(judged, node)
    return Checked(loaded, files.notes(config, pool, loaded.policy))


def _judged(file: Path) -> Judged:
    try:
        text = read_bytes(file)
    except Invalid as invalid:
        return Judged(None, (), {}, invalid.problems)
    return judge(text, str(file), reader(file.parent))


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
