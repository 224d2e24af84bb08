"""The plain reading: first match, derived facts, and what absence does."""

from pointsman.model.attribute import Value
from pointsman.policy.load import load
from pointsman.policy.runtime import Reader, Verdict

TEXT = b"""
apiVersion: pointsman/v1
kind: Policy
metadata: {name: test}
attributes:
  app.zone: {type: string, header: x-zone, trust: declared, absent: deny, values: [red, blue]}
  app.team: {type: string, header: x-team, trust: declared, absent: nobody}
destinations: [{name: records, addresses: [198.51.100.82]}]
catalogue:
  data.label:
    values: [open, secret]
    absent: deny
    entries: [{destination: records, path: /v1, value: open}]
profiles: [{name: a, encryption: none}, {name: b, encryption: strong}]
rules:
  - {name: team, when: app.team == "ops", profile: a}
  - {name: red, when: app.zone == "red" && destination.port == 80, profile: a}
  - {name: open, when: data.label == "open", profile: a}
  - {name: secret, when: data.label == "secret" && operation == "read", profile: b}
"""
FACTS: dict[str, Value] = {
    "request.protocol": "http",
    "request.method": "GET",
    "request.path": "/v1/x",
    "request.host": "records.example",
    "destination.name": "records",
    "destination.address": "198.51.100.82",
    "destination.port": 81,
    "process.uid": 64001,
    "app.zone": "blue",
    "app.team": "dev",
}


def decide(**changed: Value | None) -> Verdict:
    loaded = load(TEXT, "p.yaml", lambda _: b"")
    facts = FACTS | {name.replace("_", "."): value for name, value in changed.items() if value is not None}
    for name in (name.replace("_", ".") for name, value in changed.items() if value is None):
        del facts[name]
    return Reader(loaded.policy, loaded.document).decide(facts, {"request.path": ("/", "/v1", "/v1/x")})


def test_the_first_rule_that_holds_decides() -> None:
    assert decide(app_team="ops") == Verdict("a", "team")
    assert decide() == Verdict("a", "open")


def test_an_absent_fact_counts_as_what_its_declaration_says() -> None:
    assert decide(app_team=None) == Verdict("a", "open")


def test_an_absence_that_changes_nothing_changes_nothing() -> None:
    assert decide(app_zone=None) == Verdict("a", "open")
    assert decide(app_zone="green") == Verdict("a", "open")


def test_an_absence_that_could_change_the_outcome_refuses() -> None:
    assert decide(request_path="/", app_zone=None, destination_port=80) == Verdict(None, "")
    assert decide(request_path=None) == Verdict(None, "")


def test_what_the_catalogue_does_not_list_is_every_value_at_once() -> None:
    assert decide(request_path="/") == Verdict(None, "")
    assert decide(request_path="/", app_team="ops") == Verdict("a", "team")
