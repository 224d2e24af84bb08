"""The tunnels that gateways were asked for, one private file each: a file is there before the gateway hears of it."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pointsman.model.fault import Fault
from pointsman.model.gateway import Given, Holder, Made
from pointsman.model.profile import Level
from pointsman.model.tunnel import Endpoint, Kind
from pointsman.system.files import replace_file
from pointsman.system.log import Log

_DRAFT = ".new"


@dataclass(frozen=True, slots=True)
class Kept:
    """One file: the tunnel, its private key, and what the gateway gave, None while that is not known.

    `preshared` is the key that both ends mix in, empty for none.
    """

    made: Made
    key: str = field(repr=False)
    given: Given | None
    preshared: str = field(default="", repr=False)


class Unwritten:
    """What could not be written yet; it counts already, and is tried again."""

    def __init__(self, folder: Path, log: Log) -> None:
        self._folder = folder
        self._log = log
        self._waiting: dict[str, Kept] = {}

    def add(self, kept: Kept) -> None:
        """Write a file now or later."""
        self._waiting[kept.made.name] = kept
        self.write()

    def drop(self, name: str) -> None:
        """Write nothing more of a tunnel that is gone."""
        self._waiting.pop(name, None)

    def write(self) -> None:
        """Write what waits, up to the first fault, which is told."""
        while self._waiting:
            name, kept = next(iter(self._waiting.items()))
            try:
                keep(self._folder, kept)
            except Fault as fault:
                self._log.fault(fault)
                return
            del self._waiting[name]


def keep(folder: Path, kept: Kept) -> None:
    """Write the file, whole or not at all. Raises `Fault` where it cannot be written."""
    path = folder / f"{kept.made.name}.json"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        replace_file(path, json.dumps(asdict(kept)).encode())
    except OSError as error:
        raise Fault("file", f"make folder `{folder}`", str(error.strerror)) from error
    except Fault:
        path.with_name(path.name + _DRAFT).unlink(missing_ok=True)
        raise


def forget(folder: Path, name: str) -> None:
    """Remove the file. None there is fine."""
    (folder / f"{name}.json").unlink(missing_ok=True)


def recall(folder: Path) -> tuple[Kept, ...]:
    """Return all that was kept, in order of name. Drafts that a killed agent left hold keys, and go."""
    for draft in folder.glob(f"*.json{_DRAFT}"):
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
    given = content["given"]
    known = _given(given) if given is not None else None
    return Kept(_made(content["made"], content["key"]), content["key"], known, content["preshared"])


def _made(made: dict[str, Any], key: str) -> Made:
    # a file that does not say what the tunnel was made as: it is not trusted with anything
    told = {"kind": Kind.OPENVPN if key.startswith("-----") else Kind.WIREGUARD, "level": Level.NONE, "labels": ()}
    fields = {**told, **made}
    return Made(
        **{
            **fields,
            "kind": Kind(fields["kind"]),
            "level": Level(fields["level"]),
            "labels": tuple((name, value) for name, value in fields["labels"]),
            "holder": Holder(**{"source": "", **made["holder"]}) if made["holder"] is not None else None,
        }
    )


def _given(given: dict[str, Any]) -> Given:
    lists: dict[str, Any] = {name: tuple(given.pop(name)) for name in ("addresses", "probe")}
    return Given(endpoint=Endpoint(**given.pop("endpoint")), **lists, **given)
