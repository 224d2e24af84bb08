"""Bring a lab up, tell how it is, take it down. Down works on whatever is left, also after `kill -9` half-way."""

import json
import subprocess
import sys
from pathlib import Path

from pointsman.lab import build, gateway, instance, keys, names, spaces, world, zone
from pointsman.lab import exec as on
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.model.fault import Fault
from pointsman.model.problem import Invalid, Place, Problem
from pointsman.policy.load import load_policy


def up(lab: Lab, policy: Path | None = None) -> None:
    """Bring up a whole lab: namespaces, gateways, origin, and the instance's files. If that fails, nothing is left."""
    if lab in names.standing():
        hint = f"take it down first: `pointsman lab down --name {lab.name}`"
        raise Fault("lab-stands", f"bring up lab `{lab.name}`", f"it stands already; {hint}")
    try:
        _folders(lab)
        keys.issue(lab.keys, lab.node / "keys.json")
        if policy is not None:
            _check(policy, lab)
        build.make(lab)
        origin = _start_origin(lab)
        zone.start_nameserver(lab)
        gateway.start_gateways(lab)
        instance.write_node(lab, policy)
        _await_origin(lab, origin)
    except BaseException:
        down(lab)
        raise


def down(lab: Lab) -> None:
    """Take a lab down. Nothing to take down is fine."""
    build.unmake(lab)


def sweep(prefix: str | None) -> None:
    """Take down labs and test namespaces whose names start with `prefix`; without one, those of runs that have died."""
    for lab in names.standing():
        if spaces.swept(lab.name, prefix):
            down(lab)
    for space in spaces.standing():
        if spaces.swept(space, prefix):
            spaces.remove(space)


def status(lab: Lab) -> dict[str, object]:
    """Return hosts with their namespaces, interfaces, addresses and processes, and the tunnels, as JSON has it."""
    return {
        "name": lab.name,
        "folder": str(lab.folder),
        "up": (lab.folder / "ready").exists() and all(lab.path(host.name).exists() for host in world.HOSTS),
        "hosts": [_host_status(lab, host) for host in world.HOSTS],
        "names": {name: list(addresses) for name, addresses in world.NAMES},
        "tunnels": [
            {
                "name": each.tunnel,
                "kind": each.kind.value,
                "level": each.level.name.lower(),
                "labels": dict(each.labels),
                "gateway": each.host,
                "endpoint": {
                    "address": each.endpoint.address,
                    "port": each.endpoint.port,
                    "protocol": each.endpoint.protocol,
                },
                "networks": list(each.networks),
                "seen_as": list(each.seen_as),
                "file": str(lab.node / gateway.pool_file(each)),
            }
            for each in world.GATEWAYS
        ],
    }


def _host_status(lab: Lab, host: world.Host) -> dict[str, object]:
    interfaces = []
    if lab.path(host.name).exists():
        found = json.loads(on.demand_here(["ip", "-n", lab.namespace(host.name), "-json", "address"], "list addresses"))
        interfaces = [
            {
                "name": link["ifname"],
                "state": link["operstate"].lower(),
                "mtu": link["mtu"],
                "addresses": [
                    f"{info['local']}/{info['prefixlen']}" for info in link["addr_info"] if info["scope"] == "global"
                ],
            }
            for link in found
            if link["ifname"] != "lo" and "master" not in link  # a port of a bridge is no leg of its host
        ]
    return {
        "name": host.name,
        "namespace": lab.namespace(host.name),
        "interfaces": interfaces,
        "processes": sorted(on.processes(lab, host.name)),
    }


def _folders(lab: Lab) -> None:
    """Make the lab's folders: passable for the users of proxy and tunnels, the keys closed to all but root."""
    names.ROOT.mkdir(mode=0o711, exist_ok=True)
    lab.folder.mkdir(mode=0o711)
    lab.keys.mkdir(mode=0o700)
    lab.node.mkdir(mode=0o711)
    hosts = "127.0.0.1 localhost\n::1 localhost\n"
    hosts += "".join(f"{address} {name}\n" for name, addresses in world.NAMES for address in addresses)
    for host in world.HOSTS:
        home = lab.home(host.name)
        for folder in (home, home / "cgroup", home / "wireguard"):
            folder.mkdir(mode=0o711)
        (home / "hosts").write_text(hosts)
        asked = world.RESOLVERS if host.name == world.INSTANCE else ()
        (home / "resolv.conf").write_text("".join(f"nameserver {address}\n" for address in asked) or "# none\n")


def _check(policy: Path, lab: Lab) -> None:
    """Raise `Invalid` where the policy is not in order, next to the files that the instance has."""
    try:
        text = policy.read_bytes()
    except OSError as error:
        raise Invalid([Problem(Place(str(policy)), "unreadable", f"cannot be read: {error.strerror}")]) from error

    def beside(name: str) -> bytes:
        try:
            return (lab.node / name).read_bytes()
        except OSError as error:
            raise Fault("unreadable", f"read `{name}` of the lab", str(error.strerror)) from error

    load_policy(text, str(policy), beside)


def _start_origin(lab: Lab) -> subprocess.Popen[bytes]:
    ready = lab.folder / "ready"
    argv = [sys.executable, "-m", "pointsman.lab.origin", str(lab.requests), str(ready)]
    return on.start(lab, world.ORIGIN, argv, "origin")


def _await_origin(lab: Lab, origin: subprocess.Popen[bytes]) -> None:
    log = lab.log(world.ORIGIN, "origin")
    until(lambda: (lab.folder / "ready").exists() or origin.poll() is not None, "the origin listens", log)
    if origin.poll() is not None:
        raise Fault("lab-origin", "start the origin", log.read_text(errors="replace")[-800:].strip())
