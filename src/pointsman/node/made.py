"""The tunnels that gateways were asked for, one private file each: a file is there before the gateway hears of it."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pointsman.model.fault import Fault
from pointsman.model.gateway import Given, Holder, Made
from pointsman.model.tunnel import Endpoint
from pointsman.system.files import replace_file


@dataclass(frozen=True, slots=True)
class Kept:
    """One file: the tunnel, its private key, and what the gateway gave, None while that is not known.

    `preshared` is the key that both ends mix in, empty for none.
    """

    made: Made
    key: str = field(repr=False)
    given: Given | None
    preshared: str = field(default="", repr=False)


def keep(folder: Path, kept: Kept) -> None:
    """Write the file, whole or not at all."""
    folder.mkdir(mode=0o700, exist_ok=True)
    replace_file(folder / f"{kept.made.name}.json", json.dumps(asdict(kept)).encode())


def forget(folder: Path, name: str) -> None:
    """Remove the file. None there is fine."""
    (folder / f"{name}.json").unlink(missing_ok=True)


def recall(folder: Path) -> tuple[Kept, ...]:
    """Return all that was kept, in order of name. Drafts that a killed agent left hold keys, and go."""
    for draft in folder.glob("*.json.new"):
        draft.unlink(missing_ok=True)
    return tuple(_read(folder / f"{name}.json") for name in names(folder))


def names(folder: Path) -> tuple[str, ...]:
    """Return the names of all tunnels that have a file, damaged or not."""
    return tuple(sorted(path.stem for path in folder.glob("*.json")))


def discard_damaged(folder: Path) -> tuple[Fault, ...]:
    """Remove files that nobody can read, and return which. Their gateways take the tunnels away by themselves."""
    found = []
    for name in names(folder):
        try:
            _read(folder / f"{name}.json")
        except Fault as fault:
            found.append(fault)
            forget(folder, name)
    return tuple(found)


def _read(path: Path) -> Kept:
    try:
        return _kept(json.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError) as error:
        why = "it is damaged; remove it, and the gateway takes its tunnel away when its time is over"
        raise Fault("state-damaged", f"read `{path}`", why) from error


def _kept(content: dict[str, Any]) -> Kept:
    made, given = content["made"], content["given"]
    holder = Holder(**made.pop("holder")) if made["holder"] is not None else made.pop("holder")
    known = _given(given) if given is not None else None
    return Kept(Made(holder=holder, **made), content["key"], known, content["preshared"])


def _given(given: dict[str, Any]) -> Given:
    lists: dict[str, Any] = {name: tuple(given.pop(name)) for name in ("addresses", "probe")}
    return Given(endpoint=Endpoint(**given.pop("endpoint")), **lists, **given)
