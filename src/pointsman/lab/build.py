"""Make the lab's namespaces, cables, addresses and routes, and take them away again."""

import shutil
from collections.abc import Sequence
from contextlib import suppress

from pointsman.lab.exec import demand_here, end_processes
from pointsman.lab.names import Lab
from pointsman.lab.world import HOSTS, LAN, NET, ROUTER, Host

# Quiet from the start: no router advertisements are heard, no address waits for duplicate detection.
_KNOBS = ("net/ipv6/conf/{}/accept_dad=0", "net/ipv6/conf/{}/accept_ra=0", "net/ipv6/conf/{}/disable_ipv6=0")
_FORWARDING = ("net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1")


def make(lab: Lab) -> None:
    """Make all namespaces of a lab and connect them."""
    for host in HOSTS:
        _ip("netns", "add", lab.namespace(host.name))
    for host in HOSTS:
        _knobs(lab, host)
    router = lab.namespace(ROUTER)
    bridges = [
        f"link add name {bridge} type bridge forward_delay 0 mcast_snooping 0 stp_state 0" for bridge in (LAN, NET)
    ]
    _batch(lab, ROUTER, ["link set lo up", *bridges])
    for host in HOSTS:
        if host.name != ROUTER:
            cables = [
                f"link add name {port(host.name, leg.device)} type veth peer name {leg.device} "
                f"netns {lab.namespace(host.name)}"
                for leg in host.legs
            ]
            plugs = [f"link set {port(host.name, leg.device)} master {leg.bridge} up" for leg in host.legs]
            demand_here(["ip", "-n", router, "-batch", "-"], f"plug in {host.name}", "\n".join([*cables, *plugs]))
    for host in HOSTS:
        _batch(lab, host.name, _addresses(host))


def port(host: str, device: str = "eth0") -> str:
    """Return the name of the router's end of a host's cable."""
    return host if device == "eth0" else f"{host}-{device}"


def unmake(lab: Lab) -> None:
    """End all processes of a lab and remove its namespaces and its folder, whatever is left of them."""
    for host in HOSTS:
        end_processes(lab, host.name)
    for host in HOSTS:
        if lab.path(host.name).exists():
            _ip("netns", "delete", lab.namespace(host.name))
    shutil.rmtree(lab.folder, ignore_errors=True)
    with suppress(OSError):  # other labs stand
        lab.folder.parent.rmdir()


def _addresses(host: Host) -> list[str]:
    lines = ["link set lo up"]
    for leg in host.legs:
        lines.append(f"link set {leg.device} up")
        lines += [f"address add {address} dev {leg.device} nodad" for address in leg.addresses if ":" in address]
        lines += [f"address add {address} dev {leg.device}" for address in leg.addresses if ":" not in address]
    return lines + [f"route add default via {gateway}" for gateway in host.gateways]


def _knobs(lab: Lab, host: Host) -> None:
    knobs = [knob.format(scope) for knob in _KNOBS for scope in ("all", "default")]
    knobs += _FORWARDING if host.forwards else ()
    script = "".join(f"echo {value} >/proc/sys/{name}\n" for name, value in (knob.split("=") for knob in knobs))
    demand_here(["nsenter", f"--net={lab.path(host.name)}", "sh", "-e"], f"set up {host.name}", script)


def _batch(lab: Lab, host: str, lines: Sequence[str]) -> None:
    demand_here(["ip", "-n", lab.namespace(host), "-batch", "-"], f"set up {host}", "\n".join(lines))


def _ip(*argv: str) -> None:
    demand_here(["ip", *argv], f"`ip {' '.join(argv)}`")
