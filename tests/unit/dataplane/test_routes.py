"""Virtual hosts: which destinations a host may belong to, and the files as a whole."""

import json
import os
from dataclasses import replace
from pathlib import Path

from pointsman.dataplane import entries, limits
from pointsman.dataplane.envoy import Settings
from pointsman.dataplane.resources import EnvoyFiles, compile_envoy
from pointsman.dataplane.routes import Candidates
from pointsman.model.attribute import AbsentValue, Attribute, Claim, Header, Type
from pointsman.model.entry import Mode
from pointsman.model.formula import TRUE, And, Atom, Contains, Equals, Formula, Prefix
from pointsman.model.policy import Destination, Identity, Policy, Rule
from pointsman.model.problem import Place
from pointsman.model.profile import Level, Limits, Profile, Rate
from pointsman.model.tunnel import Lane
from pointsman.policy.diagram import compile_policy

GOLDEN = Path(__file__).parents[2] / "golden"
EXACT = Destination("exact", ("api.example",), any_address=True, ports=((443, 443),))
LONG = Destination("long", ("*.eu.example",), any_address=True)
SHORT = Destination("short", ("*.example",), any_address=True)
NUMBERED = Destination("numbered", (), ("192.0.2.0/24",))


def _rule(name: str, profile: str | None, when: Formula) -> Rule:
    return Rule(name, when, profile, "", Place())


POLICY = Policy(
    name="golden",
    version="1",
    attributes=(
        Attribute("user.role", Type.STRING, Claim("role"), AbsentValue("none"), ("admin", "none")),
        Attribute("user.groups", Type.STRINGS, Claim("groups"), AbsentValue(())),
        Attribute("tenant", Type.STRING, Header("x-tenant"), AbsentValue("none")),
    ),
    destinations=(
        Destination("pay", ("pay.example", "*.pay.example"), ("198.51.100.81/32", "2001:db8:2::81/128"), ((80, 89),)),
        NUMBERED,
    ),
    profiles=(
        Profile("fast", Level.NONE),
        Profile("safe", Level.STRONG, limits=Limits(Rate(100, 200), Rate(5, 10), Rate(50, 50))),
        Profile("gone", Level.QUANTUM),
    ),
    rules=(
        _rule("no-admin", None, Atom("request.path", Prefix("/admin"))),
        _rule("pay", "safe", And((Atom("destination.name", Equals("pay")), Atom("user.role", Equals("admin"))))),
        _rule("ops", "gone", Atom("user.groups", Contains("ops"))),
        _rule("robots", "safe", Atom("process.uid", Equals(2001))),
        _rule("gold", "fast", Atom("tenant", Equals("gold"))),
        _rule("default", None, TRUE),
    ),
    identity=Identity("x-identity", "", "https://id.example", ("pointsman",), '{"keys":[]}', False),
)
LANES = (
    Lane("fast", "direct", 0x00200000, "eth0", ("192.0.2.10", "2001:db8:1::10")),
    Lane("safe", "wg-a", 0x00300000, "pm0123456789", ("10.71.0.2",)),
)


def _files(policy: Policy = POLICY, ways: tuple[Lane, ...] = LANES) -> EnvoyFiles:
    chosen: dict[str, Lane | str] = {lane.profile: lane for lane in ways}
    ports = entries.plan({2001}, [lane.cluster for lane in LANES], Mode)
    settings = Settings("/run/pointsman/envoy", "/run/pointsman/envoy-state", "/var/log/pointsman/access.log")
    return compile_envoy(compile_policy(policy), {**chosen, "gone": "no tunnel"}, ways, ports, settings)


def test_a_host_belongs_to_the_closest_destination_whose_port_fits() -> None:
    known = Candidates((SHORT, NUMBERED, LONG, EXACT))
    assert known.of("api.example") == (EXACT, SHORT, NUMBERED)
    assert known.of("*.eu.example") == (LONG, SHORT, NUMBERED)
    assert known.of("*") == (NUMBERED,)


def test_the_files_are_what_a_reviewer_has_read() -> None:
    for name, text in _files().named().items():
        golden = GOLDEN / f"envoy_{Path(name).name}"
        readable = json.dumps(json.loads(text), indent=1, ensure_ascii=False) + "\n"
        if os.environ.get("POINTSMAN_GOLDEN") == "write":
            golden.write_text(readable)
        assert golden.read_text() == readable, f"`{golden.name}` differs; POINTSMAN_GOLDEN=write writes it anew"


def test_the_same_policy_gives_the_same_bytes() -> None:
    assert _files() == _files()


def test_a_tunnel_that_comes_or_goes_changes_no_listener() -> None:
    whole, half = _files(), _files(ways=LANES[:1])
    assert (half.bootstrap, half.listeners) == (whole.bootstrap, whole.listeners)
    assert half.clusters.version != whole.clusters.version
    assert half.routes.version != whole.routes.version


def test_an_identity_header_for_us_alone_does_not_leave() -> None:
    assert "x-identity" in json.loads(_files().routes.text)["resources"][0]["request_headers_to_remove"]


def test_the_bound_on_users_keeps_buckets_from_being_refilled() -> None:
    """Within the time in which a bucket fills by itself, fewer users come along than the table holds."""
    for rate in (Rate(1, 1), Rate(1, 600), Rate(100, 50), Rate(7, 10_000)):
        total = limits.bounded(None, rate)
        assert total.burst + total.per_second * rate.burst / rate.per_second <= limits.MOST_USERS
        assert limits.bounded(Rate(2, 3), rate) == Rate(2, 3)


def test_a_header_that_is_a_list_may_have_several_values() -> None:
    tags = Attribute("tags", Type.STRINGS, Header("x-tags"), AbsentValue(()))
    rule = _rule("tags", "fast", Atom("tags", Contains("gold")))
    policy = replace(POLICY, attributes=(*POLICY.attributes, tags), rules=(rule, *POLICY.rules))
    files = _files(policy).routes.text

    assert "`x-tenant` is given more than once" in files
    assert "`x-tags` is given more than once" not in files
