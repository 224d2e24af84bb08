"""What a gateway file may contain: its fields, their types and their limits."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr
from pydantic.alias_generators import to_camel

from pointsman.policy.schema import BANDWIDTH, NAME, Name, Port, Text

DEVICE = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$"
PATTERNS = {
    NAME: "a name begins with a letter or digit and has letters, digits, `.`, `_` and `-`, at most 63",
    DEVICE: "a device name has letters, digits, `_`, `.` and `-`, at most 15",
    BANDWIDTH: "write a number and `kbit`, `Mbit` or `Gbit`, like `100Mbit`",
}

Device = Annotated[StrictStr, Field(pattern=DEVICE)]
Bandwidth = Annotated[StrictStr, Field(pattern=BANDWIDTH)]
User = Annotated[StrictInt, Field(ge=0, le=0xFFFFFFFE)] | StrictStr
Networks = Annotated[tuple[StrictStr, ...], Field(min_length=1, max_length=2)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)


class Api(_Part):
    """Where nodes ask, and who is believed. Files are PEM, those of secrets base64."""

    listen: Annotated[tuple[StrictStr, ...], Field(min_length=1, max_length=16)]
    port: Port = 7443
    certificate: Text
    key: Text
    nodes: Text
    secret: Text | None = None
    secrets: dict[Name, Text] = {}


class Wireguard(_Part):
    address: StrictStr
    port: Port = 51820
    networks: Networks
    device: Device = "pm-wg"
    mtu: Annotated[StrictInt, Field(ge=1280, le=9000)] = 1420


class Openvpn(_Part):
    address: StrictStr
    port: Port = 1194
    protocol: Literal["udp", "tcp"] = "udp"
    networks: Networks
    device: Device = "pm-ovpn"
    mtu: Annotated[StrictInt, Field(ge=1280, le=1500)] = 1400
    redirect_gateway: StrictBool = False


class Capacity(_Part):
    tunnels: Annotated[StrictInt, Field(ge=1, le=100_000)] = 1000
    per_node: Annotated[StrictInt, Field(ge=1, le=100_000)] | None = None
    bandwidth: Bandwidth | None = None
    bandwidth_per_node: Bandwidth | None = None
    connections_per_tunnel: Annotated[StrictInt, Field(ge=1, le=1_000_000)] = 16384


class GatewayDocument(_Part):
    api_version: Literal["pointsman/v1"]
    kind: Literal["Gateway"]
    name: Name = "gateway"
    runtime: Text = "/run/pointsman-gateway"
    state: Text = "/var/lib/pointsman-gateway"
    user: User = "pointsman-tunnels"
    uplinks: Annotated[tuple[Device, ...], Field(min_length=1, max_length=16)]
    nat: Literal["masquerade", "none"] = "masquerade"
    other_forwarding: Literal["drop", "accept"] = "drop"
    api: Api | None = None
    wireguard: Wireguard | None = None
    openvpn: Openvpn | None = None
    capacity: Capacity = Capacity()
