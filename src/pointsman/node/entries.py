"""The tunnels of a node file: what each entry declares, and what is wrong with it."""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from pointsman.model.problem import Place, Problem, did_you_mean
from pointsman.model.profile import Level
from pointsman.model.tunnel import Entry, Kind
from pointsman.node.offers import Told, rate_problems
from pointsman.policy import node as values
from pointsman.policy.document import Document
from pointsman.policy.profiles import bandwidth

NAME = r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$"
Name = Annotated[StrictStr, Field(pattern=NAME)]


class Offer(BaseModel):
    """One entry as it is written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    kind: Literal["wireguard", "openvpn", "direct"]
    level: Literal["none", "encrypted", "strong", "quantum"]
    labels: dict[Name, StrictStr] = {}
    file: StrictStr = ""
    device: StrictStr = ""
    probe: StrictStr = ""
    cost: Annotated[StrictInt, Field(ge=0, le=1_000_000)] = 0
    weight: Annotated[StrictInt, Field(ge=1, le=1_000_000)] = 1
    rate: Told | None = None
    outerDscp: Annotated[StrictInt, Field(ge=0, le=63)] = 0


def entry(offer: Offer, folder: Path) -> Entry:
    """Return the entry of the model. Relative paths count from `folder`."""
    return Entry(
        name=offer.name,
        kind=Kind(offer.kind),
        level=Level[offer.level.upper()],
        labels=tuple(sorted(offer.labels.items())),
        file=str(folder / offer.file) if offer.file else "",
        device=offer.device,
        probe=offer.probe,
        cost=offer.cost,
        weight=offer.weight,
        rate=bandwidth(offer.rate) if offer.rate else None,
        outer_dscp=offer.outerDscp,
    )


def place_of(document: Document, at: int) -> Place:
    """Return where an entry names its file; where it names none, where it begins."""
    return document.find("tunnels", at, "file")


def offers_in(document: Document) -> dict[int, Offer]:
    """Return the entries that have the right form, each by its position, however broken the rest of the file is."""
    listed = document.node("tunnels")
    found = {}
    for i, item in enumerate(listed.items if isinstance(listed, values.Sequence) else ()):
        try:
            found[i] = Offer.model_validate(values.plain(item))
        except ValidationError:
            continue
    return found


def with_sources(document: Document, offers: Mapping[int, Offer], folder: Path) -> tuple[tuple[Entry, Place], ...]:
    """Return the entries that say what they are made from, with their places."""
    made = ((entry(offer, folder), place_of(document, i)) for i, offer in offers.items())
    return tuple((one, where) for one, where in made if (one.device if one.kind is Kind.DIRECT else one.file))


def entry_problems(document: Document, offers: Mapping[int, Offer], uplinks: Sequence[str]) -> Iterator[Problem]:
    """Yield what is wrong with entries of the right form."""
    for i, offer in offers.items():
        before = [other for at, other in offers.items() if at < i]
        if offer.name in [other.name for other in before]:
            yield Problem(
                document.find("tunnels", i, "name"), "duplicate-name", f"tunnel `{offer.name}` is declared twice"
            )
        if offer.kind == "direct" and not offer.device:
            hint = "say which interface it leaves by, like `device: eth0`"
            yield Problem(
                document.find("tunnels", i), "missing-field", f"direct tunnel `{offer.name}` has no `device`", hint
            )
        if offer.kind == "direct" and offer.device and offer.device not in uplinks:
            hint = did_you_mean(offer.device, uplinks)
            yield Problem(
                document.find("tunnels", i, "device"),
                "not-an-uplink",
                f"device `{offer.device}` is not an uplink",
                hint,
            )
        if offer.kind == "direct" and offer.file:
            what = f"direct tunnel `{offer.name}` takes no `file`"
            yield Problem(document.find("tunnels", i, "file"), "unknown-field", what, "it leaves by its `device`")
        if offer.kind != "direct" and offer.device:
            what = f"tunnel `{offer.name}` takes no `device`"
            yield Problem(document.find("tunnels", i, "device"), "unknown-field", what, "its link is made for it")
        if offer.kind != "direct" and not offer.file:
            hint = "name the wg-quick or .ovpn file"
            yield Problem(document.find("tunnels", i), "missing-field", f"tunnel `{offer.name}` has no `file`", hint)
        yield from rate_problems(document, offer.rate, "tunnels", i)
        if offer.rate and offer.device in [other.device for other in before if other.rate and other.device]:
            what, hint = (
                f"device `{offer.device}` has a rate already",
                "a device has one set of queues: give one entry a rate",
            )
            yield Problem(document.find("tunnels", i, "rate"), "duplicate-rate", what, hint)
        if offer.outerDscp and offer.kind != "wireguard":
            hint = "the daemon's local port tells its packets apart, and is known for WireGuard alone"
            place = document.find("tunnels", i, "outerDscp")
            yield Problem(place, "not-wireguard", f"`outerDscp` on tunnel `{offer.name}`, which is no WireGuard", hint)
        if offer.probe and offer.kind == "direct":
            hint = "what is behind an uplink is not ours to watch"
            yield Problem(document.find("tunnels", i, "probe"), "no-tunnel", "a direct tunnel is not probed", hint)
        if offer.probe and not is_address(offer.probe):
            hint = "the address inside the tunnel at which the gateway answers, like `10.71.0.1`"
            what = f"probe `{offer.probe}` is not an address"
            yield Problem(document.find("tunnels", i, "probe"), "malformed", what, hint)


def is_address(text: str) -> bool:
    """Return whether this is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
