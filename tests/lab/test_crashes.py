"""Killed at every step, or rebooted: both sides come to have the same tunnels again, and nothing else.

The suite kills at the steps that differ most; `POINTSMAN_EVERY_STEP=1 ./dev test tests/lab/test_crashes.py` at all.
"""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from pointsman.lab import exec as on
from pointsman.lab import gateway as gateways
from pointsman.lab import instance, world
from pointsman.lab.names import Lab
from pointsman.lab.reboot import reboot
from pointsman.lab.wait import until
from pointsman.lab.watch import Witness
from pointsman.tunnels.demand import DRAIN
from tests.lab.sides import VAULT, Sides
from tests.lab.steered import PATIENCE, Steered, policy_text, steering
from tests.lab.test_holders import POLICY, ask, leases

IDLE = 6
SITES = {one.host: one for one in world.GATEWAYS}
SHUT = "add table inet shut\nadd chain inet shut in { type filter hook input priority -10; }\n"
SILENT = SHUT + "add rule inet shut in udp dport 51820 drop\nadd rule inet shut in icmp type echo-request drop\n"


@pytest.fixture(scope="module")
def host(lab: Lab, witness: Witness) -> Iterator[Steered]:
    document = yaml.safe_load(POLICY.read_text())
    brief = {"name": "brief", "encryption": "strong", "dedicated": "per-user", "provision": {"idle": f"{IDLE}s"}}
    ruled = {"name": "brief-records", "when": 'request.path.startsWith("/brief/")', "profile": "brief"}
    parts = {"profiles": [*document["profiles"], brief], "rules": [*document["rules"], ruled]}
    offers = yaml.safe_load(instance.write_node(lab, None, spares=0).read_text())["gateways"]
    none = [{**one, "spares": {"least": 0, "most": 0}} for one in offers]
    with steering(lab, policy_text(POLICY, **parts), gateways=none) as made:
        yield made
        if made.agent.poll() is None:
            made.tell("down")


@dataclass(frozen=True, slots=True)
class Scene:
    """A holder's tunnel, and the files that were there before something was begun with it."""

    sides: Sides
    tunnel: str
    before: frozenset[str]

    def new(self) -> set[str]:
        """Return the tunnels that were begun since then."""
        return set(self.sides.files()) - self.before

    def given(self) -> Iterator[Any]:
        """Yield what their gateways gave them."""
        yield from (kept["given"] for name, kept in self.sides.files().items() if name not in self.before)

    def kept(self) -> Any:
        """Return what is in the tunnel's file; an empty one where there is none."""
        return self.sides.files().get(self.tunnel, {"made": {"leaving": None}, "given": None})


Step = Callable[[Scene], bool]
MAKING: dict[str, Step] = {
    "the new one has a file": lambda scene: bool(scene.new()),
    "its gateway has granted it": lambda scene: bool(scene.new() & scene.sides.granted()),
    "its file says what was given": lambda scene: any(scene.given()),
    "its daemon has a folder": lambda scene: bool(scene.new() & scene.sides.folders()),
}
LEAVING: dict[str, Step] = {"the old one leaves": lambda scene: scene.kept()["made"]["leaving"] is not None}
REMOVING: dict[str, Step] = {
    "it is taken down here": lambda scene: scene.tunnel not in scene.sides.folders(),
    "its gateway has let it go": lambda scene: scene.tunnel not in scene.sides.granted(),
}
LETTING_GO = {what: REMOVING[what] for what in ("it is taken down here", "its gateway has let it go")}
GRANTED, LET_GO = "its gateway has granted it", "its gateway has let it go"
# What is idle is taken down as what is revoked, half a minute later, and what replaces a dead one made as what is new
STEPS = {
    "rotate": MAKING | LEAVING,
    "revoke": LEAVING | LETTING_GO,
    "idle": LEAVING,
    "replace": {GRANTED: MAKING[GRANTED]} | LEAVING,
}
GRANTING = {what: MAKING[what] for what in ("the new one has a file", GRANTED)}
GATEWAY_STEPS = {"rotate": GRANTING, "revoke": LETTING_GO}


if not os.environ.get("POINTSMAN_EVERY_STEP"):
    STEPS = {
        "rotate": {what: MAKING[what] for what in (GRANTED, "its daemon has a folder")} | LEAVING,
        "revoke": LEAVING | {LET_GO: REMOVING[LET_GO]},
        "replace": LEAVING,
    }
    GATEWAY_STEPS = {"rotate": {GRANTED: MAKING[GRANTED]}, "revoke": {LET_GO: REMOVING[LET_GO]}}


def pairs(steps: Mapping[str, Mapping[str, Step]]) -> list[tuple[str, str]]:
    return [(operation, step) for operation, some in steps.items() for step in some]


@contextmanager
def begun(host: Steered, witness: Witness, operation: str, step: str) -> Iterator[Scene]:
    """Have a holder with a tunnel, and begin something with it; a gateway that was silenced speaks again at the end."""
    profile, user = "brief" if operation == "idle" else "own", f"{operation}-{step}"
    assert ask(host, witness, f"/{profile}/1", user).status == 200
    tunnel = leases(host)[profile, user]
    sides = Sides(host)
    scene = Scene(sides, tunnel, frozenset(sides.files()))
    with ThreadPoolExecutor(1) as pool:
        told: Future[object] | None = None
        if operation == "rotate":
            told = pool.submit(instance.rotate, host.lab, tunnel)
        elif operation == "revoke":
            told = pool.submit(instance.revoke, host.lab, profile, user, 0.0)
        elif operation == "replace":
            on.demand(host.lab, gateway_of(tunnel), ["nft", "-f", "-"], given=SILENT)
        try:
            yield scene
        finally:
            if operation == "replace":
                on.demand(host.lab, gateway_of(tunnel), ["nft", "delete", "table", "inet", "shut"])
            if told is not None:
                told.exception()  # whoever answers may have been killed


def gateway_of(tunnel: str) -> str:
    return tunnel.rpartition("-")[0]


def agree(host: Steered) -> None:
    """Wait until both sides have the same tunnels, and say what differs where that does not come."""
    last: dict[str, Any] = {}

    def same() -> bool:
        nonlocal last
        last = Sides(host).disagreement()
        return not last

    try:
        until(same, "both sides have the same tunnels", within=PATIENCE, every=0.5)
    finally:
        assert last == {}


@pytest.mark.parametrize(("operation", "step"), pairs(STEPS))
def test_an_agent_killed_at_any_step_leaves_no_orphan(
    host: Steered, witness: Witness, operation: str, step: str
) -> None:
    with begun(host, witness, operation, step) as scene:
        until(lambda: STEPS[operation][step](scene), step, within=DRAIN + PATIENCE, every=0)
        host.kill(signal.SIGKILL)
    host.restart()

    profile = "brief" if operation == "idle" else "own"
    assert ask(host, witness, f"/{profile}/2", f"{operation}-{step}").status == 200
    agree(host)


@pytest.mark.parametrize(("operation", "step"), pairs(GATEWAY_STEPS))
def test_a_gateway_killed_at_any_step_leaves_no_orphan(
    host: Steered, witness: Witness, operation: str, step: str
) -> None:
    with begun(host, witness, operation, step) as scene:
        until(lambda: GATEWAY_STEPS[operation][step](scene), step, within=DRAIN + PATIENCE, every=0)
        named = gateway_of(scene.tunnel if step in LETTING_GO else next(iter(scene.new())))
        os.kill(int((host.lab.home(named) / "gateway" / "ready").read_text()), signal.SIGKILL)
        start(host.lab, named)

    profile = "brief" if operation == "idle" else "own"
    until(lambda: ask(host, witness, f"/{profile}/2", f"{operation}-{step}").status == 200, "it is served", within=20)
    agree(host)


def start(lab: Lab, gateway: str) -> None:
    """Start a gateway where none runs, and return when it serves."""
    gateways.await_gateway(lab, SITES[gateway], gateways.start_gateway(lab, SITES[gateway]))


def test_an_instance_that_was_rebooted_has_no_tunnel_of_before_and_nobody_else_has(
    host: Steered, witness: Witness
) -> None:
    users = [f"reboot-{number}" for number in range(3)]
    assert {ask(host, witness, "/own/1", user).status for user in users} == {200}
    before = Sides(host).granted()
    assert len(before) >= len(users)

    reboot(host.lab, world.INSTANCE, host.lab.runtime)
    host.agent.wait(20)
    host.restart()

    assert {ask(host, witness, "/own/2", user).status for user in users} == {200}
    until(lambda: not before & Sides(host).granted(), "gateways have none of them", within=PATIENCE)
    agree(host)


def test_a_gateway_that_was_rebooted_has_the_tunnels_of_before_and_no_others(host: Steered, witness: Witness) -> None:
    gateway = VAULT[0]
    users = [f"reboot-{gateway}-{number}" for number in range(4)]
    assert {ask(host, witness, "/own/1", user).status for user in users} == {200}

    reboot(host.lab, gateway, host.lab.home(gateway) / "gateway")
    start(host.lab, gateway)

    def served() -> bool:
        return {ask(host, witness, "/own/2", user).status for user in users} == {200}

    until(served, "all are served", within=PATIENCE)
    agree(host)
