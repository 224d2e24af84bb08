"""Would the policy in force decide the same for what still runs? Running records in, what has to end out. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import re2

from pointsman.dataplane.headers import GRPC
from pointsman.model.attribute import Claim, Header
from pointsman.model.context import Absent, Context, Request
from pointsman.model.decision import Permit
from pointsman.node.records import Pair
from pointsman.policy.context import read
from pointsman.policy.decide import decide
from pointsman.policy.diagram import Compiled

_GRPC = re2.compile(GRPC)


@dataclass(frozen=True, slots=True)
class Running:
    """A request or plain TCP flow that has not ended: how it was decided, its sockets, and its facts.

    `began` is in seconds of the Unix clock. `claims` are those of the verified token, None where the policy of its
    beginning did not look for one. `headers` are those that it declared, None where the request had none of that name.
    `sent` counts the bytes that its client was given.
    """

    key: str
    profile: str
    tunnel: str
    began: float
    client: str
    source: str
    destination: str
    request: Request
    claims: Mapping[str, object] | None
    headers: Mapping[str, str | None]
    sent: int

    @property
    def back(self) -> Pair:
        """Return both ends of the application's socket."""
        return self.client, self.destination

    @property
    def out(self) -> Pair:
        """Return both ends of the socket to the origin."""
        return self.source, self.destination


def key_of(record: Mapping[str, Any]) -> str:
    """Return what stays the same in all records of one request or flow. A flow has a new decision id in each."""
    return str(record.get("decision") if record.get("kind") == "http" else (record.get("client"), record.get("time")))


def understand(record: Mapping[str, Any]) -> Running | None:
    """Return what a running record tells; None where it does not tell all."""
    try:
        address, _, port = str(record["destination"]).rpartition(":")
        headers = {str(name): value for name, value in (record.get("headers") or {}).items()}
        http = record["kind"] == "http"
        kind = f"{record['protocol']} {record['method']} {record['content_type'] or ''}" if http else ""
        request = Request(
            protocol="grpc" if _GRPC.fullmatch(kind) else "http" if http else "tcp",
            method=record["method"] if http else "",
            host=record["authority"] if http else "",
            path=record["path"] if http else "",
            headers=tuple((name, value) for name, value in headers.items() if value is not None),
            address=address.strip("[]"),
            port=int(port),
            uid=None,
        )
        profile, _, tunnel = str(record["lane"] or "").partition("@")
        return Running(
            key=key_of(record),
            profile=profile,
            tunnel=tunnel,
            began=datetime.fromisoformat(record["time"]).timestamp(),
            client=str(record["client"]),
            source=str(record["source"] or ""),
            destination=str(record["destination"]),
            request=request,
            claims=record["claims"] or {} if "claims" in record else None,
            headers=headers,
            sent=int(record.get("sent") or 0),
        )
    except (KeyError, ValueError, TypeError, AttributeError):
        return None


def again(running: Running, compiled: Compiled, uid: int | None) -> str:
    """Return why it has to end under this policy; nothing where it would be given the same profile.

    A fact that nobody noted when it began is not guessed: what would rest on one ends, and its retry is decided anew.
    """
    policy = compiled.policy
    context = read(replace(running.request, uid=uid), policy, running.claims)
    if not isinstance(context, Context):
        return f"it would be refused: {type(context).__name__.lower()}"
    unknown = {"process.uid"} if uid is None else set()
    for attribute in policy.attributes if running.request.protocol != "tcp" else ():  # a flow has neither
        match attribute.source:
            case Claim() if running.claims is None:
                unknown.add(attribute.name)
            case Header(name) if name not in running.headers:
                unknown.add(attribute.name)
    facts = {name: Absent("not on record") if name in unknown else fact for name, fact in context.facts.items()}
    decision = decide(compiled, Context(facts))
    asked = unknown & {step.attribute for step in decision.trace}
    if asked:
        return f"its decision would rest on `{min(asked)}`, which was not noted when it began"
    if not isinstance(decision, Permit):
        return f"rule `{decision.rule}` denies it" + (f", as it has no `{decision.absent}`" if decision.absent else "")
    if decision.profile != running.profile:
        return f"rule `{decision.rule}` gives it profile `{decision.profile}`"
    return ""


def cuts(running: Iterable[Running], ending: Collection[str]) -> list[Pair]:
    """Return the sockets, by both ends, that must go for these to end, those of applications first.

    On HTTP/2 several requests share the socket to the origin, and others that of their application. What nobody else
    shares goes, so that both sides know that it was no proper end; of two that are shared, the one that fewer share.
    """
    every = tuple(running)
    others: Counter[Pair] = Counter()
    for one in every:
        if one.key not in ending:
            others.update((one.back, one.out))
    back: dict[Pair, None] = {}
    out: dict[Pair, None] = {}
    for one in every:
        if one.key not in ending:
            continue
        fewest = min(others[one.back], others[one.out])
        if others[one.back] == fewest:
            back[one.back] = None
        if others[one.out] == 0 or others[one.out] < others[one.back]:
            out[one.out] = None
    return [*back, *out]
