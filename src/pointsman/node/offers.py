"""The gateways of a node file: whom to ask for tunnels, what these give, and how many there may be."""

import ipaddress
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from pointsman.model.gateway import Gateway
from pointsman.model.problem import Place, Problem
from pointsman.model.profile import Level
from pointsman.model.routing import TABLES
from pointsman.model.tunnel import Kind
from pointsman.policy.document import Document
from pointsman.policy.profiles import bandwidth
from pointsman.policy.schema import BANDWIDTH

# The kernel counts classes in bytes per second, in 32 bits
SLOWEST, FASTEST = 64_000, 30_000_000_000
Told = Annotated[StrictStr, Field(pattern=BANDWIDTH)]
Count = Annotated[StrictInt, Field(ge=0, le=1000)]
# with what is put behind it, it names a tunnel
Short = Annotated[StrictStr, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
Word = Annotated[StrictStr, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$")]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Spares(_Form):
    least: Count = 1
    most: Count = 8


class GatewayOffer(_Form):
    name: Short
    kind: Literal["wireguard", "openvpn"]
    level: Literal["encrypted", "strong", "quantum"]
    labels: dict[Word, StrictStr] = {}
    address: StrictStr
    port: Annotated[StrictInt, Field(ge=1, le=65535)] = 7443
    ca: StrictStr
    certificate: StrictStr
    key: StrictStr
    secret: StrictStr = ""
    rate: Told | None = None
    spares: Spares = Spares()


class LeaseBounds(_Form):
    node: Annotated[StrictInt, Field(ge=1, le=500)] = 200
    holder: Annotated[StrictInt, Field(ge=1, le=500)] = 8


def gateway(offer: GatewayOffer, folder: Path) -> Gateway:
    """Return the gateway of the model. Relative paths count from `folder`."""
    ca, certificate, key = (str(folder / name) for name in (offer.ca, offer.certificate, offer.key))
    return Gateway(
        name=offer.name,
        address=offer.address,
        port=offer.port,
        kind=Kind(offer.kind),
        level=Level[offer.level.upper()],
        labels=tuple(sorted(offer.labels.items())),
        ca=ca,
        certificate=certificate,
        key=key,
        secret=str(folder / offer.secret) if offer.secret else "",
        rate=bandwidth(offer.rate) if offer.rate else None,
        least=offer.spares.least,
        most=max(offer.spares.least, offer.spares.most),
    )


def file_places(document: Document, i: int) -> tuple[Place, Place, Place]:
    """Return where the certificate, the key and the authority of a gateway are named."""
    certificate, key, ca = (document.find("gateways", i, name) for name in ("certificate", "key", "ca"))
    return certificate, key, ca


def gateway_problems(document: Document, offers: Sequence[GatewayOffer], others: int) -> Iterator[Problem]:
    """Yield what is wrong with the gateways, each at its place. Beside spare tunnels there may be so many `others`."""
    spares = sum(offer.spares.most for offer in offers)
    if offers and spares + others > len(TABLES):
        what = (
            f"{spares} spare tunnels, and {others} of the pool and of holders, are more than the {len(TABLES)} that fit"
        )
        yield Problem(document.find("gateways"), "too-many-tunnels", what, "let `spares` or `leases` be fewer")
    names = [offer.name for offer in offers]
    for i, offer in enumerate(offers):
        if offer.name in names[:i]:
            place = document.find("gateways", i, "name")
            yield Problem(place, "duplicate-name", f"gateway `{offer.name}` is declared twice")
        try:
            ipaddress.ip_address(offer.address)
        except ValueError:
            hint = "write the address: the guard frees what goes there by address, and names are not resolved"
            what = f"`{offer.address}` is not an address"
            yield Problem(document.find("gateways", i, "address"), "malformed", what, hint)
        yield from rate_problems(document, offer.rate, "gateways", i)
        if offer.level == "quantum" and not offer.secret:
            hint = "give both ends the same `secret`: 32 random bytes in base64, in a file of their own (0600)"
            place = document.find("gateways", i, "level")
            yield Problem(place, "missing-field", f"`quantum` needs a `secret`, which `{offer.name}` has not", hint)
        if offer.secret and offer.kind != "wireguard":
            hint = "OpenVPN mixes no secret of ours into its key exchange"
            place = document.find("gateways", i, "secret")
            yield Problem(place, "not-wireguard", f"`secret` on `{offer.name}`, which gives no WireGuard", hint)
        if offer.spares.least > offer.spares.most:
            place = document.find("gateways", i, "spares")
            yield Problem(place, "malformed", f"`least` is {offer.spares.least} and `most` {offer.spares.most}")


def rate_problems(document: Document, rate: str | None, *place: str | int) -> Iterator[Problem]:
    """Yield what is wrong with the rate of what is declared at this place."""
    if rate and not SLOWEST <= bandwidth(rate) <= FASTEST:
        yield Problem(document.find(*place, "rate"), "bandwidth", f"`{rate}` is not between 64kbit and 30Gbit")
