"""Keeps the grants on disk: one file, replaced as a whole, for root alone since it holds pre-shared keys."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pointsman.gateway.grant import Grant, Request, State
from pointsman.model.fault import Fault
from pointsman.model.profile import Qos
from pointsman.model.tunnel import Kind
from pointsman.system.clock import boot_id
from pointsman.system.files import replace_file


def keep(path: Path, state: State) -> None:
    """Write the grants so that they are whole, or those before are."""
    content = {
        "boot": boot_id(),
        "last": dict(state.last),
        "grants": [asdict(grant) for grant in state.grants.values()],
    }
    replace_file(path, json.dumps(content).encode())


def recall(path: Path, now: float) -> State:
    """Return the grants that were kept. `now` is in seconds of the boot-time clock.

    After a reboot nobody knows how long it was off: what expires then has its whole time once more.
    """
    try:
        kept = json.loads(path.read_bytes())
        same = kept["boot"] == boot_id()
        grants = [_grant(said, None if same else now) for said in kept["grants"]]
        last = {Kind(kind): int(slot) for kind, slot in kept["last"].items()}
    except FileNotFoundError:
        return State()
    except (ValueError, KeyError, TypeError) as error:
        why = "it is damaged; restore it, or remove it: then every tunnel ends"
        raise Fault("state-damaged", f"read `{path}`", why) from error
    return State({grant.key: grant for grant in grants}, last)


def _grant(said: dict[str, Any], anew: float | None) -> Grant:
    asked = said.pop("asked")
    request = Request(**{**asked, "kind": Kind(asked["kind"]), "qos": Qos(asked["qos"])})
    expires = said.pop("expires")
    if anew is not None and request.ttl is not None:
        expires = anew + request.ttl
    return Grant(request, addresses=tuple(said.pop("addresses")), expires=expires, **said)
