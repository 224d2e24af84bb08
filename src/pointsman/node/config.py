"""The node's own file: which policy, which tunnels, which users, what is captured and what stays free.

Bad input raises `Invalid` with every problem at its line and column.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from zlib import crc32

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError

from pointsman.model.gateway import Bounds, Gateway
from pointsman.model.policy import Ports
from pointsman.model.problem import Invalid, Place, Problem
from pointsman.model.tunnel import Entry
from pointsman.node.entries import (
    NAME,
    Name,
    Offer,
    entry,
    entry_problems,
    is_address,
    offers_in,
    place_of,
    with_sources,
)
from pointsman.node.offers import GatewayOffer, LeaseBounds, file_places, gateway, gateway_problems
from pointsman.policy.document import Document, read
from pointsman.policy.form import misfits, other_kind
from pointsman.policy.node import plain
from pointsman.policy.schema import BANDWIDTH
from pointsman.system.users import uid_of

Port = Annotated[StrictInt, Field(ge=1, le=65535)]
User = Annotated[StrictInt, Field(ge=0, le=0xFFFFFFFE)] | StrictStr
_PATTERNS = {
    NAME: "a name begins with a letter or digit and has letters, digits, `.`, `_` and `-`, at most 63",
    BANDWIDTH: "write a number and `kbit`, `Mbit` or `Gbit`, like `100Mbit`",
}


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Users(_Form):
    proxy: User = "pointsman-proxy"
    tunnels: User = "pointsman-tunnels"
    exempt: tuple[User, ...] = ()


class Captured(_Form):
    http: tuple[Port, ...] = (80,)
    auto: tuple[Port, ...] = ()


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
    gateways: tuple[GatewayOffer, ...] = ()
    leases: LeaseBounds = LeaseBounds()


@dataclass(frozen=True, slots=True)
class Node:
    """A checked node file. Users are user ids; `http` and `auto` are ports, every other port is plain TCP.

    `places` are where the entries are declared. `unknown_users` are problems on this host alone; ids stand for those
    users that no user of this host has. `gateway_places` say of each gateway where the file names its `certificate`,
    `key` and `ca`.
    """

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
    places: tuple[Place, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    gateway_places: tuple[tuple[Place, Place, Place], ...] = ()
    bounds: Bounds = Bounds()
    unknown_users: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """A node file as far as it could be read: the node, None where its form is wrong, and all that is wrong.

    `tunnels` are the entries that say what they are made from, with their places.
    """

    node: Node | None
    tunnels: tuple[tuple[Entry, Place], ...]
    problems: tuple[Problem, ...]


def load_node(path: Path) -> Node:
    """Return the checked node file of this host. Relative paths count from the file's own folder."""
    judged = judge_node(path)
    if judged.node is None or judged.problems or judged.node.unknown_users:
        raise Invalid([*judged.problems, *(judged.node.unknown_users if judged.node else ())])
    return judged.node


def read_node(path: Path) -> Node:
    """Return the checked node file of any host: users that this one does not have are in `unknown_users`."""
    judged = judge_node(path)
    if judged.node is None or judged.problems:
        raise Invalid(judged.problems)
    return judged.node


def judge_node(path: Path) -> Judged:
    """Return what a node file says and what is wrong with it, on any host. Never raises `Invalid`."""
    try:
        text = path.read_bytes()
    except OSError as error:
        return Judged(None, (), (Problem(Place(str(path)), "unreadable", f"cannot be read: {error.strerror}"),))
    try:
        document = read(text, str(path))
    except Invalid as invalid:
        return Judged(None, (), invalid.problems)
    folder = path.resolve().parent
    try:
        form = NodeDocument.model_validate(plain(document.root))
    except ValidationError as error:
        offers = offers_in(document)
        problems = (*_form_problems(document, error), *entry_problems(document, offers, _uplinks(document)))
        return Judged(None, with_sources(document, offers, folder), (*document.problems, *problems))
    offers = dict(enumerate(form.tunnels))
    others = len(form.tunnels) + form.leases.node
    found = [*document.problems, *_reference_problems(document, form)]
    found += gateway_problems(document, form.gateways, others)
    proxy, tunnels = _uid(form.users.proxy), _uid(form.users.tunnels)
    exempt = [_uid(user) for user in form.users.exempt]
    found += _user_problems(document, proxy, tunnels, exempt)
    node = Node(
        name=form.name,
        policy=folder / form.policy,
        runtime=folder / form.runtime,
        state=folder / form.state,
        proxy_uid=proxy,
        tunnel_uid=tunnels,
        exempt_uids=tuple(exempt),
        uplinks=form.uplinks,
        http=_ranges(form.capture.http),
        auto=_ranges(form.capture.auto),
        resolvers=form.resolvers,
        inbound=form.inbound,
        dhcp=form.dhcp,
        workers=form.workers,
        facts=tuple(form.facts.items()),
        entries=tuple(entry(offer, folder) for offer in form.tunnels),
        places=tuple(place_of(document, i) for i in offers),
        gateways=tuple(gateway(offer, folder) for offer in form.gateways),
        gateway_places=tuple(file_places(document, i) for i in range(len(form.gateways))),
        bounds=Bounds(form.leases.node, form.leases.holder),
        unknown_users=tuple(_unknown_users(document, form.users)),
    )
    return Judged(node, with_sources(document, offers, folder), tuple(found))


def _form_problems(document: Document, error: ValidationError) -> list[Problem]:
    other = other_kind(document, "Node")
    if other:
        return other
    return misfits(document, NodeDocument, error, _PATTERNS)


def _uplinks(document: Document) -> tuple[str, ...]:
    """Return the uplinks of a file whose form is wrong; where they are what is wrong, all that its tunnels name."""
    listed = document.node("uplinks")
    found = plain(listed) if listed is not None else None
    if isinstance(found, list) and found:
        return tuple(str(name) for name in found)
    return tuple(offer.device for offer in offers_in(document).values())


def _reference_problems(document: Document, form: NodeDocument) -> Iterator[Problem]:
    yield from entry_problems(document, dict(enumerate(form.tunnels)), form.uplinks)
    for i, resolver in enumerate(form.resolvers):
        if not is_address(resolver):
            yield Problem(document.find("resolvers", i), "malformed", f"resolver `{resolver}` is not an address")
    for port in set(form.capture.http) & set(form.capture.auto):
        place = document.find("capture", "auto", form.capture.auto.index(port))
        yield Problem(place, "duplicate-port", f"port {port} is both `http` and `auto`")


def _user_problems(document: Document, proxy: int, tunnels: int, exempt: Sequence[int]) -> Iterator[Problem]:
    """What may leave hangs on these two users: each must run nothing but what it is for."""
    hint = "give each a user of its own (see packaging/systemd/pointsman.sysusers)"
    for role, uid in (("proxy", proxy), ("tunnels", tunnels)):
        if uid == 0:
            yield Problem(document.find("users", role), "unfit-user", f"`{role}` must not run as root", hint)
        if uid in exempt:
            yield Problem(
                document.find("users", "exempt"), "unfit-user", f"the user of `{role}` cannot be exempt", hint
            )
    if proxy == tunnels:
        yield Problem(document.find("users"), "unfit-user", "`proxy` and `tunnels` are the same user", hint)


def _unknown_users(document: Document, users: Users) -> Iterator[Problem]:
    hint = "make the user (see packaging/systemd/pointsman.sysusers) or give a user id"
    for place, user in (
        (("users", "proxy"), users.proxy),
        (("users", "tunnels"), users.tunnels),
        *((("users", "exempt", i), user) for i, user in enumerate(users.exempt)),
    ):
        if uid_of(user) is None:
            what = f"user `{user}` does not exist here"
            yield Problem(document.find(*place), "unknown-user", what, hint)


def _uid(user: int | str) -> int:
    """Return the id of a user; of one that this host does not have, an id that stands for the name."""
    known = uid_of(user)
    return known if known is not None else 0xF0000000 | crc32(str(user).encode()) >> 5


def _ranges(ports: Sequence[int]) -> Ports:
    return tuple((port, port) for port in sorted(set(ports)))
