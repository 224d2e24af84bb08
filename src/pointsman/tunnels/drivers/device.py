"""A WireGuard device that is there already, whoever drives it: the kernel or wireguard-go."""

from collections.abc import Iterable

from pointsman.tunnels.drivers import kernel, uapi, userspace
from pointsman.tunnels.port import Berth, Link, WireguardSpec


def look(berth: Berth, found: Link) -> uapi.Seen:
    """Return what the device says of itself."""
    if found.kind == "wireguard":
        return kernel.look(berth)
    return uapi.understand(uapi.exchange(userspace.socket_path(berth), "get=1\n\n"))


def tell(spec: WireguardSpec, berth: Berth, found: Link, gone: Iterable[str] = ()) -> None:
    """Give the device the keys and peers of this spec; other peers stay, but for those whose keys are in `gone`."""
    if found.kind == "wireguard":
        kernel.tell(spec, berth, gone)
    else:
        uapi.exchange(userspace.socket_path(berth), uapi.request(spec, gone))
