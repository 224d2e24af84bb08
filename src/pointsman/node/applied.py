"""Which policy this node goes on with: the one last applied, or the node file's own where that was changed since."""

import base64
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from pointsman.model.fault import Fault
from pointsman.model.policy import Policy
from pointsman.model.problem import Invalid, Place, Problem
from pointsman.policy.load import load
from pointsman.system.files import replace_file


@dataclass(frozen=True, slots=True)
class Source:
    """A policy as it was given: its text and the files that it names, so that nothing outside is needed again.

    `origin` is the hash of the node file's policy, with the files that it names, at that time.
    """

    name: str
    text: bytes
    files: tuple[tuple[str, bytes], ...]
    origin: str


def gather(text: bytes, name: str, folder: Path, origin: str) -> tuple[Source, Policy]:
    """Return a policy with all that it is made of. Raises `Invalid` with every problem."""
    files: dict[str, bytes] = {}

    def read(file: str) -> bytes:
        try:
            files[file] = (folder / file).read_bytes()
        except OSError as error:
            raise Fault("unreadable", f"read `{file}`", str(error.strerror)) from error
        return files[file]

    policy = load(text, name, read).policy
    return Source(name, text, tuple(sorted(files.items())), origin), policy


def again(source: Source) -> Policy:
    """Return the policy of a source that was gathered before."""
    files = dict(source.files)

    def read(file: str) -> bytes:
        if file not in files:
            raise Fault("unreadable", f"read `{file}`", "it was not kept with the policy")
        return files[file]

    return load(source.text, source.name, read).policy


def choose(path: Path, kept: Path) -> tuple[Source, Policy, str]:
    """Return what to enforce, and a warning where the node file's policy could not be it.

    Raises `Invalid` where neither can be used: then the host stays as it is.
    """
    before = recall(kept)
    try:
        source, policy = own(path)
    except Invalid as invalid:
        if before is None:
            raise
        return before, again(before), f"{invalid.problems[0]}; the policy applied before goes on"
    if before is not None and before.origin == source.origin:
        return before, again(before), ""
    return source, policy, ""


def own(path: Path) -> tuple[Source, Policy]:
    """Return the policy of the node file itself. Raises `Invalid` with every problem."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise Invalid([Problem(Place(str(path)), "unreadable", f"cannot be read: {error.strerror}")]) from error
    source, policy = gather(text, str(path), path.parent, "")
    return replace(source, origin=_hash(source)), policy


def _hash(source: Source) -> str:
    parts = (source.text, *(part for name, data in source.files for part in (name.encode(), data)))
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def recall(kept: Path) -> Source | None:
    """Return the source that was kept, None where there is none."""
    try:
        content = json.loads(kept.read_bytes())
        return Source(
            content["name"],
            base64.b64decode(content["text"], validate=True),
            tuple((name, base64.b64decode(data, validate=True)) for name, data in content["files"]),
            content["origin"],
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        why = "it is damaged; remove it to go on with the node file's own policy"
        raise Fault("state-damaged", f"read the policy applied last from `{kept}`", why) from error


def keep(kept: Path, source: Source) -> None:
    """Keep the source, whole or not at all."""
    content = {
        "name": source.name,
        "text": base64.b64encode(source.text).decode(),
        "files": [[name, base64.b64encode(data).decode()] for name, data in source.files],
        "origin": source.origin,
    }
    replace_file(kept, json.dumps(content).encode())
