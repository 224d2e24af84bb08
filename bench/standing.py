"""A lab with an agent whose profiles hold tunnels and fail over; and callers that sit on its instance."""

import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml

from bench.place import inside
from pointsman.cli.client import Client
from pointsman.lab import clients, instance, life, names, world
from pointsman.lab.names import Lab
from pointsman.lab.wait import until

ADDRESS, PORT, HOST = "198.51.100.80", 80, "public.example"
OWN, SHARED, STATIC = "own", "shared", "static"
ALLOWED = 200
PATIENCE = 30.0

_POLICY = """
apiVersion: pointsman/v1
kind: Policy
metadata: {name: tunnels}
identity:
  jwt: {header: x-identity-token, issuer: https://id.example, audiences: [pointsman], keys: keys.json}
destinations:
  - {name: public, hosts: [public.example], addresses: [198.51.100.80]}
profiles:
  - name: own
    encryption: strong
    dedicated: per-user
    select: {labels: {purpose: vault}}
    onFailure: next
    provision: {wait: 10s, idle: 3600s}
  - name: shared
    encryption: strong
    select: {names: [wg-a, wg-b], labels: {purpose: vault}}
    choose: ordered
    onFailure: next
    failBack: {after: 2s}
    onMove: drain
    drainWithin: 5s
  - {name: static, encryption: strong, select: {names: [wg-a]}}
  - {name: single, encryption: encrypted, select: {names: [ovpn-c]}}
rules:
  - {name: own, when: 'request.path.startsWith("/own/")', profile: own}
  - {name: shared, when: 'request.path.startsWith("/shared/")', profile: shared}
  - {name: static, when: 'request.path.startsWith("/static/")', profile: static}
  - {name: single, when: 'request.path.startsWith("/single/")', profile: single}
default: {deny: true}
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """A lab whose agent is up. `agent` is its process id."""

    lab: Lab
    agent: int
    client: Client

    def status(self) -> Any:
        """Return what the agent says of itself."""
        return self.client.get("/v1/status")

    def told(self) -> Any:
        """Return leases and spares."""
        return self.client.get("/v1/leases")

    def lease(self, user: str) -> str:
        """Return the tunnel that a user holds, or nothing."""
        return next((str(one["tunnel"]) for one in self.told()["leases"] if one["holder"] == user), "")

    def revoke(self, user: str) -> None:
        """End a user's lease on both sides."""
        self.client.post("/v1/leases/revoke", {"profile": OWN, "holder": user, "ban": 0})

    def token(self, user: str) -> str:
        """Return an identity token of a user."""
        return clients.token(self.lab, sub=user)

    def compiled(self, user: str) -> None:
        """Return once the user's requests are decided by the tree, without a question to the agent."""
        tree = self.lab.runtime / "envoy" / "rds" / "rds.json"
        until(lambda: f"{OWN}@{self.lease(user)}" in tree.read_text(), f"the tree knows {user}", within=PATIENCE)


@contextmanager
def standing(name: str, least: int, most: int) -> Iterator[Standing]:
    """Have a prepared lab with an agent; this thread is on the instance while the block runs."""
    with prepared(name, least, most) as lab:
        agent = instance.start_agent(lab).pid
        with inside(lab.namespace(world.INSTANCE)):
            yield Standing(lab, agent, Client(lab.runtime, timeout=30))


@contextmanager
def prepared(name: str, least: int, most: int) -> Iterator[Lab]:
    """Have a lab whose agent is to have so many spare tunnels, while the block runs."""
    lab = names.lab(f"{names.run_name()}-{name}"[:20])
    life.up(lab)
    try:
        _write(lab, least, most)
        yield lab
    finally:
        life.down(lab)


def _write(lab: Lab, least: int, most: int) -> None:
    (lab.node / "policy.yaml").write_text(_POLICY)
    path = lab.node / "node.yaml"
    node = yaml.safe_load(path.read_text())
    node["leases"] = {"node": 500}
    for gateway in node["gateways"]:
        # spare ones of OpenVPN would be made, and used by nobody here
        vault = gateway["kind"] == "wireguard"
        gateway["spares"] = {"least": least, "most": most} if vault else {"least": 0, "most": 0}
    path.write_text(yaml.safe_dump(node, sort_keys=False))


def first_byte(path: str, token: str = "") -> tuple[float, int]:
    """Return the seconds from before the connection to the first byte of the answer, and its status."""
    line = http.client.HTTPConnection(ADDRESS, PORT, timeout=20)
    begun = time.monotonic()
    try:
        took, status = ask(line, path, token, since=begun)
    finally:
        line.close()
    return took, status


def ask(line: http.client.HTTPConnection, path: str, token: str = "", since: float = 0.0) -> tuple[float, int]:
    """Return the seconds from the question, or `since`, to the first byte of the answer, and its status."""
    headers = {"Host": HOST, **({"x-identity-token": token} if token else {})}
    begun = since or time.monotonic()
    line.request("GET", path, headers=headers)
    answer = line.getresponse()
    took = time.monotonic() - begun
    answer.read()
    return took, answer.status


def step(number: int, of: int, what: str) -> None:
    """Say how far a part has got."""
    if number % max(1, of // 4) == 0 or number == of:
        print(f"  {what}: {number} of {of}", flush=True)
