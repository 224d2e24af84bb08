"""The node's own file: which policy, which tunnels, which users, what is captured and what stays free.

Bad input raises `Invalid` with every problem at its line and column.
"""

import ipaddress
import pwd
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError

from pointsman.model.policy import Ports
from pointsman.model.problem import Invalid, Place, Problem, did_you_mean
from pointsman.model.profile import Level
from pointsman.model.tunnel import Entry, Kind
from pointsman.policy.document import Document, read
from pointsman.policy.node import describe, plain

Port = Annotated[StrictInt, Field(ge=1, le=65535)]
User = Annotated[StrictInt, Field(ge=0, le=0xFFFFFFFE)] | StrictStr
Name = Annotated[StrictStr, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$")]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Users(_Form):
    proxy: User = "pointsman-proxy"
    tunnels: User = "pointsman-tunnels"
    exempt: tuple[User, ...] = ()


class Captured(_Form):
    http: tuple[Port, ...] = (80,)
    auto: tuple[Port, ...] = ()


class Offer(_Form):
    name: Name
    kind: Literal["wireguard", "openvpn", "direct"]
    level: Literal["none", "encrypted", "strong", "quantum"]
    labels: dict[Name, StrictStr] = {}
    file: StrictStr = ""
    device: StrictStr = ""


class NodeDocument(_Form):
    apiVersion: Literal["pointsman/v1"]
    kind: Literal["Node"]
    name: Name = "node"
    policy: StrictStr
    runtime: StrictStr = "/run/pointsman"
    state: StrictStr = "/var/lib/pointsman"
    users: Users = Users()
    uplinks: Annotated[tuple[Name, ...], Field(min_length=1)]
    capture: Captured = Captured()
    resolvers: tuple[StrictStr, ...] = ()
    inbound: tuple[Port, ...] = ()
    dhcp: StrictBool = True
    workers: Annotated[StrictInt, Field(ge=1, le=64)] | None = None
    facts: dict[StrictStr, StrictStr | StrictInt | StrictBool] = {}
    tunnels: Annotated[tuple[Offer, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Node:
    """A checked node file. Users are user ids; `http` and `auto` are ports, every other port is plain TCP."""

    name: str
    policy: Path
    runtime: Path
    state: Path
    proxy_uid: int
    tunnel_uid: int
    exempt_uids: tuple[int, ...]
    uplinks: tuple[str, ...]
    http: Ports
    auto: Ports
    resolvers: tuple[str, ...]
    inbound: tuple[int, ...]
    dhcp: bool
    workers: int | None
    facts: tuple[tuple[str, str | int | bool], ...]
    entries: tuple[Entry, ...]


def load_node(path: Path) -> Node:
    """Return the checked node file. Relative paths count from the file's own folder."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise Invalid([Problem(Place(str(path)), "unreadable", f"cannot be read: {error.strerror}")]) from error
    document = read(text, str(path))
    try:
        form = NodeDocument.model_validate(plain(document.root))
    except ValidationError as error:
        raise Invalid([*document.problems, *_form_problems(document, error)]) from error
    found = [*document.problems, *_reference_problems(document, form)]
    users = {role: _uid(user) for role, user in (("proxy", form.users.proxy), ("tunnels", form.users.tunnels))}
    exempt = [_uid(user) for user in form.users.exempt]
    for place, name, uid in (
        *((("users", role), getattr(form.users, role), users[role]) for role in users),
        *((("users", "exempt", i), user, exempt[i]) for i, user in enumerate(form.users.exempt)),
    ):
        if uid is None:
            hint = "make the user (see packaging/systemd/pointsman.sysusers) or give a user id"
            found.append(Problem(document.find(*place), "unknown-user", f"user `{name}` does not exist here", hint))
    proxy, tunnels = users["proxy"], users["tunnels"]
    found += _user_problems(document, proxy, tunnels, exempt)
    if found or proxy is None or tunnels is None:
        raise Invalid(found)
    folder = path.resolve().parent
    return Node(
        name=form.name,
        policy=folder / form.policy,
        runtime=folder / form.runtime,
        state=folder / form.state,
        proxy_uid=proxy,
        tunnel_uid=tunnels,
        exempt_uids=tuple(uid for uid in exempt if uid is not None),
        uplinks=form.uplinks,
        http=_ranges(form.capture.http),
        auto=_ranges(form.capture.auto),
        resolvers=form.resolvers,
        inbound=form.inbound,
        dhcp=form.dhcp,
        workers=form.workers,
        facts=tuple(form.facts.items()),
        entries=tuple(_entry(offer, folder) for offer in form.tunnels),
    )


def _form_problems(document: Document, error: ValidationError) -> Iterator[Problem]:
    for found in error.errors():
        # where a field may be one of two types, there is one error for each, below the name of the type
        path = [step for step in found["loc"] if step != "constrained-int"]
        if path[-1:] == ["str"]:
            continue
        last = str(path[-1]) if path else ""
        if found["type"] == "missing":
            yield Problem(document.find(*path), "missing-field", f"field `{last}` is missing")
        elif found["type"] == "extra_forbidden":
            known = list(NodeDocument.model_fields) if len(path) == 1 else []
            hint = did_you_mean(last, known) if known else "see docs/operations.md for the fields"
            yield Problem(document.find(*path, key=True), "unknown-field", f"unknown field `{last}`", hint)
        else:
            what = f"{found['msg'][:1].lower()}{found['msg'][1:]}, found {describe(found['input'])}"
            yield Problem(document.find(*path), "malformed", f"`{last}`: {what}")


def _reference_problems(document: Document, form: NodeDocument) -> Iterator[Problem]:
    names = [offer.name for offer in form.tunnels]
    for i, offer in enumerate(form.tunnels):
        if offer.name in names[:i]:
            yield Problem(
                document.find("tunnels", i, "name"), "duplicate-name", f"tunnel `{offer.name}` is declared twice"
            )
        if offer.kind == "direct" and not offer.device:
            hint = "say which interface it leaves by, like `device: eth0`"
            yield Problem(
                document.find("tunnels", i), "missing-field", f"direct tunnel `{offer.name}` has no `device`", hint
            )
        if offer.kind == "direct" and offer.device and offer.device not in form.uplinks:
            hint = did_you_mean(offer.device, form.uplinks)
            yield Problem(
                document.find("tunnels", i, "device"),
                "not-an-uplink",
                f"device `{offer.device}` is not an uplink",
                hint,
            )
        if offer.kind != "direct" and not offer.file:
            hint = "name the wg-quick or .ovpn file"
            yield Problem(document.find("tunnels", i), "missing-field", f"tunnel `{offer.name}` has no `file`", hint)
    for i, resolver in enumerate(form.resolvers):
        try:
            ipaddress.ip_address(resolver)
        except ValueError:
            yield Problem(document.find("resolvers", i), "malformed", f"resolver `{resolver}` is not an address")
    for port in set(form.capture.http) & set(form.capture.auto):
        place = document.find("capture", "auto", form.capture.auto.index(port))
        yield Problem(place, "duplicate-port", f"port {port} is both `http` and `auto`")


def _user_problems(
    document: Document, proxy: int | None, tunnels: int | None, exempt: Sequence[int | None]
) -> Iterator[Problem]:
    """What may leave hangs on these two users: each must run nothing but what it is for."""
    hint = "give each a user of its own (see packaging/systemd/pointsman.sysusers)"
    for role, uid in (("proxy", proxy), ("tunnels", tunnels)):
        if uid == 0:
            yield Problem(document.find("users", role), "unfit-user", f"`{role}` must not run as root", hint)
        if uid is not None and uid in exempt:
            yield Problem(
                document.find("users", "exempt"), "unfit-user", f"the user of `{role}` cannot be exempt", hint
            )
    if proxy is not None and proxy == tunnels:
        yield Problem(document.find("users"), "unfit-user", "`proxy` and `tunnels` are the same user", hint)


def _uid(user: int | str) -> int | None:
    if isinstance(user, int):
        return user
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def _ranges(ports: Sequence[int]) -> Ports:
    return tuple((port, port) for port in sorted(set(ports)))


def _entry(offer: Offer, folder: Path) -> Entry:
    return Entry(
        name=offer.name,
        kind=Kind(offer.kind),
        level=Level[offer.level.upper()],
        labels=tuple(sorted(offer.labels.items())),
        file=str(folder / offer.file) if offer.file else "",
        device=offer.device,
    )
