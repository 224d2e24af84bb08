"""A lab in which a real Envoy runs on what the compiler wrote, behind a redirect and without a guard."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyroute2 import netns

from pointsman.dataplane import entries
from pointsman.dataplane.envoy import Settings
from pointsman.dataplane.resources import EnvoyFiles, compile_envoy
from pointsman.dataplane.sharing import Shares
from pointsman.lab import exec as on
from pointsman.lab import world
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.model.attribute import BUILTINS, AbsentValue, Attribute, Claim, Header, Type
from pointsman.model.entry import Entry, Mode
from pointsman.model.formula import TRUE, Atom, Contains, Equals, Prefix, Test
from pointsman.model.policy import Destination, Identity, Policy, Rule
from pointsman.model.problem import Place as Where
from pointsman.model.profile import Level, Limits, Profile, Rate
from pointsman.model.tunnel import Lane
from pointsman.policy.diagram import compile_policy
from pointsman.system import envoy, processes

UID = 64001
FAST = ("192.0.2.10", "2001:db8:1::10")
SAFE = ("192.0.2.11", "2001:db8:1::11")
LANES = (
    Lane("fast", "a", 0x00200000, "eth0", FAST),
    Lane("safe", "b", 0x00300000, "eth0", SAFE),
    Lane("limited", "a", 0x00400000, "eth0", FAST),
    Lane("broken", "c", 0x00500000, "nodev0", FAST),
)
CAPTURED = """
add table inet lab_capture
delete table inet lab_capture
table inet lab_capture {{
  chain output {{
    type nat hook output priority -100
    meta skuid {proxy} return
    oifname "lo" return
{redirects}
  }}
}}
"""


def _rule(name: str, profile: str | None, attribute: str = "", test: Test | None = None) -> Rule:
    return Rule(name, Atom(attribute, test) if test else TRUE, profile, "", Where())


def policy(key_set: str) -> Policy:
    """The policy of these tests."""
    return Policy(
        name="test",
        version="1",
        attributes=(
            *BUILTINS,
            Attribute("user.role", Type.STRING, Claim("role"), AbsentValue("none")),
            Attribute("user.groups", Type.STRINGS, Claim("groups"), AbsentValue(())),
            Attribute("tenant", Type.STRING, Header("x-tenant"), AbsentValue("none")),
        ),
        destinations=(
            Destination("public", ("public.example", "*.public.example"), ("198.51.100.80/32", "2001:db8:2::80/128")),
            Destination("trusted", ("trusted.example",), any_address=True, ports=((80, 80),)),
            Destination("numbered", (), ("198.51.100.0/24", "2001:db8:2::/64")),
        ),
        profiles=(
            Profile("fast", Level.NONE),
            Profile("safe", Level.NONE),
            Profile("gone", Level.QUANTUM),
            Profile("broken", Level.NONE),
            Profile("limited", Level.NONE, limits=Limits(profile=Rate(5, 20), per_user=Rate(1, 5))),
            Profile("unused", Level.NONE, limits=Limits(profile=Rate(1, 1))),
        ),
        rules=(
            _rule("no-secrets", None, "request.path", Prefix("/deny")),
            _rule("to-gone", "gone", "request.path", Prefix("/gone")),
            _rule("to-broken", "broken", "request.path", Prefix("/broken")),
            _rule("to-limited", "limited", "request.path", Prefix("/limited")),
            _rule("for-admins", "safe", "user.role", Equals("admin")),
            _rule("for-ops", "safe", "user.groups", Contains("ops")),
            _rule("for-pay", "safe", "process.uid", Equals(2001)),
            _rule("for-gold", "safe", "tenant", Equals("gold")),
            _rule("for-calls", "safe", "request.protocol", Equals("grpc")),
            _rule("elsewhere", None, "destination.name", Equals("")),
            _rule("default", "fast"),
        ),
        identity=Identity("authorization", "Bearer ", world.ISSUER, (world.AUDIENCE,), key_set, True),
    )


@dataclass
class Proxy:
    """The running Envoy, and what it runs on."""

    lab: Lab
    place: envoy.Place
    process: processes.Process
    policy: Policy
    ports: tuple[Entry, ...]

    def files(
        self,
        of: Policy,
        ways: Mapping[str, Lane | str] | None = None,
        lanes: tuple[Lane, ...] = (),
        nexts: Mapping[str, tuple[Lane, ...]] | None = None,
        shares: Shares | None = None,
    ) -> EnvoyFiles:
        chosen, place = WAYS if ways is None else ways, settings(self.place)
        return compile_envoy(compile_policy(of), chosen, lanes or LANES, self.ports, place, nexts=nexts, shares=shares)

    def publish(self, files: EnvoyFiles) -> None:
        envoy.publish(self.place, files.named(), files.versions())

    def records(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.place.state / "access.log").read_text().splitlines()]

    def record(self, **wanted: object) -> dict[str, object]:
        """The last record with these fields, as soon as it is written."""

        def found() -> list[dict[str, object]]:
            return [one for one in self.records() if all(one.get(key) == wanted[key] for key in wanted)]

        until(lambda: bool(found()), f"a record says {wanted}", self.place.state / "access.log")
        return found()[-1]


WAYS: Mapping[str, Lane | str] = {lane.profile: lane for lane in LANES} | {"gone": "no tunnel gives `quantum`"}


def settings(place: envoy.Place) -> Settings:
    return Settings(str(place.folder), str(place.state), str(place.state / "access.log"))


@contextmanager
def inside(lab: Lab) -> Iterator[None]:
    """Be on the instance while the block runs."""
    netns.pushns(str(lab.path(world.INSTANCE)))
    try:
        yield
    finally:
        netns.popns()


def capture(lab: Lab, ports: tuple[Entry, ...]) -> str:
    """A redirect as the agent makes it, by hand."""

    def port(mode: Mode, uid: int | None = None, lane: str = "") -> int:
        return next(one.port for one in ports if (one.mode, one.uid, one.lane) == (mode, uid, lane))

    redirects = [
        f"    tcp dport {{ 80, 8080, 8081, 50051 }} meta skuid 2001 redirect to :{port(Mode.HTTP, 2001)}",
        f"    tcp dport {{ 80, 8080, 8081, 50051 }} redirect to :{port(Mode.HTTP)}",
        f"    tcp dport 7000 meta skuid 2001 redirect to :{port(Mode.AUTO)}",
        f"    tcp dport 7000 redirect to :{port(Mode.AUTO, lane='safe@b')}",
        f"    tcp dport 7001 redirect to :{port(Mode.TCP, lane='safe@b')}",
    ]
    return CAPTURED.format(proxy=UID, redirects="\n".join(redirects))


@pytest.fixture(scope="module")
def proxy(lab: Lab) -> Iterator[Proxy]:
    # not pytest's own folder: the proxy's user has to get to it
    base = Path(tempfile.mkdtemp(prefix="pointsman-envoy-"))
    base.chmod(0o755)
    place = envoy.Place(base / "etc", base / "state", UID, 2)
    for device in ("192.0.2.11/24", "2001:db8:1::11/64"):
        on.demand(lab, world.INSTANCE, ["ip", "address", "add", device, "dev", "eth0"])
    ports = entries.plan({2001}, [lane.cluster for lane in LANES], Mode)
    on.demand(lab, world.INSTANCE, ["nft", "-f", "-"], given=capture(lab, ports))
    made = policy((lab.node / "keys.json").read_text())
    found = Proxy(lab, place, processes.Process(0, 0), made, ports)
    envoy.prepare(place)
    envoy.write(place, found.files(made).named())
    with inside(lab):
        found.process = envoy.start(place)
    try:
        envoy.wait_ready(place, found.process)
        yield found
    finally:
        processes.end(found.process)
        shutil.rmtree(base)
