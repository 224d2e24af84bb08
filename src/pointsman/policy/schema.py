"""What a policy document may contain: its fields, their types and their limits.

`python -m pointsman.policy.schema` prints the JSON Schema that editors use; docs/policy.schema.json holds it.
"""

import json
import sys
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr
from pydantic.alias_generators import to_camel

CLAIM = r"^[A-Za-z0-9_-]+$"
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
ATTRIBUTE = r"^[a-z][A-Za-z0-9_]*(\.[a-z][A-Za-z0-9_]*)+$"
BANDWIDTH = r"^[1-9][0-9]{0,8}(kbit|Mbit|Gbit)$"
SPAN = r"^[1-9][0-9]{0,4}(ms|s)$"
LOSS = r"^[1-9][0-9]?%$"
PORTS = r"^[0-9]{1,5}-[0-9]{1,5}$"
TIME = r"^[1-9][0-9]{0,4}(s|m|h)$"
PATH = r"^/[^?#\s]*$"

Name = Annotated[StrictStr, Field(pattern=NAME)]
AttributeName = Annotated[StrictStr, Field(pattern=ATTRIBUTE, max_length=100)]
Text = Annotated[StrictStr, Field(min_length=1, max_length=1000)]
Path = Annotated[StrictStr, Field(pattern=PATH, max_length=1000)]
Port = Annotated[StrictInt, Field(ge=1, le=65535)]
PortRange = Annotated[StrictStr, Field(pattern=PORTS)]
Time = Annotated[StrictStr, Field(pattern=TIME)]
Span = Annotated[StrictStr, Field(pattern=SPAN)]
PerSecond = Annotated[StrictInt, Field(ge=1, le=1_000_000)]
Word = Annotated[StrictStr, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)


class Metadata(_Part):
    """What the policy is called."""

    name: Name
    description: Annotated[StrictStr, Field(max_length=1000)] = ""


class Jwt(_Part):
    """A JSON Web Token (RFC 7519) in a request header, verified with a local key set (RFC 7517)."""

    header: Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9-]{1,100}$")] = "authorization"
    prefix: Annotated[StrictStr, Field(max_length=50)] | None = Field(
        None, description="What stands before the token; `Bearer ` for `authorization`, else nothing."
    )
    issuer: Text
    audiences: Annotated[list[Text], Field(min_length=1, max_length=100)]
    keys: Text = Field(description="File with the key set, relative to the policy file.")
    forward: StrictBool | None = Field(
        None, description="Leave the header in the request; true for `authorization`, else false."
    )
    skew: Annotated[StrictInt, Field(ge=0, le=300)] = 30


class Identity(_Part):
    """How users are proven."""

    jwt: Jwt


class AttributeSpec(_Part):
    """One fact that rules may ask about: its type, where it comes from and what its absence means."""

    type: Literal["string", "int", "bool", "ip", "strings"]
    claim: Annotated[StrictStr, Field(pattern=CLAIM, max_length=200)] | None = None
    header: Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9-]{1,100}$")] | None = None
    node: Annotated[StrictStr, Field(pattern=r"^[a-z][A-Za-z0-9_]*$", max_length=63)] | None = None
    trust: Literal["declared"] | None = None
    absent: StrictStr | StrictInt | StrictBool | list[StrictStr]
    values: Annotated[list[StrictStr | StrictInt], Field(min_length=1, max_length=10_000)] | None = None


class CatalogueEntry(_Part):
    """What lies at a destination, below a path."""

    destination: Name
    path: Path | None = None
    value: Text


class CatalogueSpec(_Part):
    """A `data.` attribute that is looked up by destination and path; the longest path wins."""

    values: Annotated[list[Text], Field(min_length=1, max_length=1000)]
    absent: Text
    entries: Annotated[list[CatalogueEntry], Field(max_length=100_000)]


class Override(_Part):
    """An operation that differs from what method or gRPC name say. First match, before the defaults."""

    destination: Name | None = None
    method: Annotated[StrictStr, Field(pattern=r"^[A-Z][A-Z-]{0,30}$")] | None = None
    path: Path | None = None
    grpc: (
        Annotated[StrictStr, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*/([A-Za-z_][A-Za-z0-9_]*|\*)$", max_length=500)]
        | None
    ) = None
    operation: Word


class DestinationSpec(_Part):
    """Somewhere to go: by host, by address, by port. Hosts without addresses are where DNS says."""

    name: Name
    hosts: Annotated[list[Text], Field(max_length=1000)] = []
    addresses: Annotated[list[Text], Field(max_length=1000)] = []
    ports: Annotated[list[Port | PortRange], Field(max_length=100)] = []
    grpc_ports: Annotated[list[Port | PortRange], Field(max_length=100)] = []
    any_address: StrictBool = False
    raw_path: StrictBool = False


class Select(_Part):
    """Which tunnels a profile accepts."""

    labels: dict[Name, Name] = {}
    names: Annotated[list[Name], Field(max_length=1000)] = []


class RateSpec(_Part):
    """Requests per second, and how many may come at once."""

    rate: PerSecond
    burst: PerSecond | None = Field(None, description="As many as `rate`, if not given.")


class LimitsSpec(_Part):
    """What a profile may carry. Each limit counts on its own."""

    requests: RateSpec | None = None
    per_user: RateSpec | None = None
    per_destination: RateSpec | None = None
    bandwidth: Annotated[StrictStr, Field(pattern=BANDWIDTH)] | None = None
    guaranteed: Annotated[StrictStr, Field(pattern=BANDWIDTH)] | None = Field(
        default=None, description="What it has in any case on each tunnel whose `rate` the node file gives."
    )


class PerAttribute(_Part):
    """Holders are told apart by an attribute of the request."""

    attribute: AttributeName = Field(alias="per-request-attribute")


class Provision(_Part):
    """How tunnels of single holders are made and kept."""

    wait: Time = Field(default="3s", description="A first request waits so long for its tunnel, 30s at most.")
    idle: Time = Field(default="10m", description="A tunnel that carried nothing for so long is taken down.")
    rotate: Time | Literal["never"] = Field(default="24h", description="How long the keys of a tunnel are used.")


class HealthSpec(_Part):
    """What a tunnel's probes must show."""

    interval: Span = "200ms"
    down: Annotated[StrictInt, Field(ge=1, le=100)] = 3
    up: Annotated[StrictInt, Field(ge=1, le=100)] = 5
    loss: Annotated[StrictStr, Field(pattern=LOSS)] = "20%"
    latency: Span | None = None


class FailBack(_Part):
    """For how long a better tunnel must have been well before the profile goes back to it."""

    after: Time = "30s"


class ProfileSpec(_Part):
    """How a request travels."""

    name: Name
    encryption: Literal["none", "encrypted", "strong", "quantum"]
    select: Select = Select()
    dedicated: StrictBool | Literal["per-user", "per-workload", "per-rule"] | PerAttribute = Field(
        default=False,
        description="true: one tunnel for this profile alone. per-…: one for each holder, made on demand.",
    )
    provision: Provision = Provision()
    qos: Literal["interactive", "default", "bulk"] = "default"
    limits: LimitsSpec = LimitsSpec()
    on_failure: Literal["block", "next"] = "block"
    health: HealthSpec = HealthSpec()
    choose: Literal["nearest", "ordered", "weighted", "least-latency", "cheapest", "spread"] = "nearest"
    fail_back: FailBack | Literal["never"] = FailBack()
    on_move: Literal["keep", "drain", "reset"] = "drain"
    drain_within: Time = "30s"
    dscp_outer: StrictBool = Field(
        default=False,
        description="The outer packets of its dedicated WireGuard tunnels have the code point of `qos` too.",
    )


class RuleSpec(_Part):
    """Where the condition holds, and no rule before it did: the request travels by this profile, or stays."""

    name: Name
    when: Annotated[StrictStr, Field(min_length=1, max_length=20_000)] | StrictBool = Field(
        description="A CEL condition."
    )
    profile: Name | None = None
    deny: Literal[True] | None = None


class Default(_Part):
    """What happens to a request for which no rule holds."""

    profile: Name | None = None
    deny: Literal[True] | None = None


class PolicyDocument(_Part):
    """A pointsman policy: which request travels by which tunnel profile."""

    api_version: Literal["pointsman/v1"]
    kind: Literal["Policy"]
    metadata: Metadata
    identity: Identity | None = None
    attributes: dict[AttributeName, AttributeSpec] = {}
    destinations: Annotated[list[DestinationSpec], Field(max_length=10_000)] = []
    catalogue: dict[AttributeName, CatalogueSpec] = {}
    operations: Annotated[list[Override], Field(max_length=10_000)] = []
    profiles: Annotated[list[ProfileSpec], Field(max_length=1000)] = []
    rules: Annotated[list[RuleSpec], Field(max_length=200_000)] = []
    default: Default = Default()


def json_schema() -> str:
    """Return the JSON Schema (2020-12) of a policy document as text."""
    body = PolicyDocument.model_json_schema()
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "pointsman policy"}
    return json.dumps(head | {key: value for key, value in body.items() if key != "title"}, indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(json_schema())
