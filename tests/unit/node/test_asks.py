"""Whose tunnel a held request asks for."""

from pointsman.model.attribute import AbsentDeny, AbsentValue, Attribute, Header, Type
from pointsman.node.asks import Ask, holder_named
from pointsman.policy.holding import USER, WORKLOAD

TEAM = Attribute("team", Type.STRING, Header("x-team"), AbsentValue("none"), ("red", "blue"))
SOURCE, DESTINATION = ("192.0.2.10", 40000), ("198.51.100.80", 80)
LEVEL = Attribute("level", Type.INT, Header("x-level"), AbsentDeny())


def named(attribute: Attribute | None, uid: int | None = None, **headers: bytes) -> str | None:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return holder_named(
        Ask("some-rule", "vault", told, SOURCE, DESTINATION),
        attribute,
        lambda *ends: uid if ends == (SOURCE, DESTINATION) else None,
    )


def test_the_rule_the_user_or_the_workload_names_the_holder() -> None:
    assert named(None) == "some-rule"
    assert named(USER, x_pointsman_claim_sub="jörg".encode()) == "jörg"
    assert named(WORKLOAD, 1001) == "1001"
    assert named(LEVEL, x_level=b"7") == "7"


def test_what_is_missing_or_makes_no_sense_is_nobody() -> None:
    assert named(USER) is None
    assert named(USER, x_pointsman_claim_sub=b"\xff") is None
    assert named(WORKLOAD, None) is None
    assert named(LEVEL, x_level=b"seven") is None


def test_where_absence_has_a_value_that_is_a_holder() -> None:
    assert named(TEAM, x_team=b"red") == "red"
    assert named(TEAM) == "none"
    assert named(TEAM, x_team=b"green") == "none"
