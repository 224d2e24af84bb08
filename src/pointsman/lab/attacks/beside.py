"""Attacks from beside: somebody on the local network, and programs that want more than they are given."""

import json
import subprocess
import sys

import yaml

from pointsman.lab import exec as on
from pointsman.lab import world
from pointsman.lab.attacks import neighbour
from pointsman.lab.attacks.bench import Bench
from pointsman.lab.attacks.case import POLICY
from pointsman.lab.attacks.trouble import API, near
from pointsman.lab.clients import connected
from pointsman.lab.wait import until


def rogue_router(bench: Bench) -> str:
    """Let the instance take an address and a default route from somebody else."""
    bench.on("sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra=2")
    try:
        near(bench, "advertise")
        until(lambda: "2001:db8:bad:" in bench.on("ip", "-6", "address"), "the instance takes the address", within=5)
        before = bench.witness.leaked()
        said = [bench.send(name, 2001) for name in ("tcp6", "udp6", "tcp6_other_port")]
        held = "DROP" if bench.witness.leaked() == before else "LEAK"
        return f"{held} ({'; '.join(said)}), ROUTE({bench.ask(to='2001:db8:2::81')})"
    finally:
        bench.on("sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra=0")
        bench.on("ip", "-6", "route", "flush", "dev", "eth0", "proto", "ra")
        for line in bench.on("ip", "-6", "-o", "address", "show", "dev", "eth0").splitlines():
            if "2001:db8:bad:" in line:
                bench.on("ip", "-6", "address", "del", line.split()[3], "dev", "eth0")


def asked_for_the_inner_address(bench: Bench) -> str:
    """Ask for the tunnel's inner address on the local network, by ARP and with a segment (CVE-2019-14899)."""
    mac = json.loads(bench.on("ip", "-j", "link", "show", "eth0"))[0]["address"]
    inner = next(one["sources"][0] for one in bench.status()["tunnels"] if one["name"] == "wg-a")
    own = near(bench, "arp", "192.0.2.10", mac)
    others = [near(bench, "arp", inner, mac), near(bench, "syn", inner, mac)]
    first = "its own address is answered" if own == "answered" else "its own address is silent"
    return f"{first}, the inner one is {'not' if others == ['silent', 'silent'] else str(others)}"


def class_of_service(bench: Bench) -> str:
    """Ask for DSCP 46 and priority 6 on a connection of the profile with the class `bulk`."""
    code = (
        "import os,socket;os.setresuid(2002,2002,2002);s=socket.socket();s.setsockopt(0,1,0xb8);"
        "s.setsockopt(1,12,6);s.connect(('198.51.100.80',80));"
        "s.sendall(b'GET / HTTP/1.1\\r\\nHost: a.ok.test\\r\\n\\r\\n');print(s.recv(100)[:15])"
    )
    argv = [sys.executable, "-I", neighbour.__file__, "class", "198.51.100.80"]
    watching = subprocess.Popen(on.command(bench.lab, world.ROUTER, argv), stdout=subprocess.PIPE, text=True)
    until(lambda: bench.ask(uid=2002, host="a.ok.test", to="198.51.100.80") == "direct", "user 2002 gets through")
    bench.on(sys.executable, "-I", "-c", code)
    return f"DSCP {watching.communicate(timeout=20)[0].strip()}"


def entries_met_directly(bench: Bench) -> str:
    """Connect to the proxy's ports from a user, by loopback and by the card's address, and from the network."""
    listening = bench.on("ss", "-Hltn").splitlines()
    ports = sorted({int(line.split()[3].rpartition(":")[2]) for line in listening})
    request = b"GET /v1/x HTTP/1.1\r\nHost: api.pay.test\r\n\r\n"
    if not ports:
        return "nobody listens"
    served = []
    for port in ports:
        for address in ("127.0.0.1", "::1", "192.0.2.10"):
            talked = bench.talk(2001, address, port, "http1", [request], 1, within=2)
            if talked.received or talked.ended == "open":
                served.append(f"{address} {port}")
    outside = near(bench, "knock", "192.0.2.10", *map(str, ports))
    users = "refused to users" if not served else f"served: {served}"
    return (
        f"{users} ({len(ports)} ports), {'refused to the network' if outside == 'none' else f'open outside: {outside}'}"
    )


def narrowed_on_one_connection(bench: Bench) -> str:
    """Forbid on the second request of a connection what was allowed on the first."""
    document = yaml.safe_load(POLICY.read_text())
    document["rules"].insert(0, {"name": "narrower", "when": 'request.path == "/v1/x"', "deny": True})
    narrower = bench.lab.node / "narrower.yaml"
    narrower.write_text(yaml.safe_dump(document, sort_keys=False))
    with connected(bench.lab, API, 80, uid=2001) as client:
        first = client.ask("/v1/x", host="api.pay.test").status
        done = bench.pointsman("policy", "apply", str(narrower))
        second = client.ask("/v1/x", host="api.pay.test").status
        back = bench.pointsman("policy", "apply", str(bench.lab.node / "policy.yaml"))
        third = client.ask("/v1/x", host="api.pay.test").status
    return f"{first}, {second}, {third}" + ("" if done.returncode == back.returncode == 0 else f", {done.stderr}")


FAULTS = (
    rogue_router,
    asked_for_the_inner_address,
    class_of_service,
    entries_met_directly,
    narrowed_on_one_connection,
)
