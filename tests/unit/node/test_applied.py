import json
from pathlib import Path

import pytest

from pointsman.model.fault import Fault
from pointsman.model.problem import Invalid
from pointsman.node import applied

KEYS = {"keys": [{"kty": "EC", "crv": "P-256", "kid": "a", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                  "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}  # fmt: skip


def policy(name: str) -> str:
    return f"""apiVersion: pointsman/v1
kind: Policy
metadata: {{name: {name}}}
identity: {{jwt: {{issuer: "https://id.example", audiences: [x], keys: keys.json}}}}
attributes: {{user.role: {{type: string, claim: role, absent: none}}}}
profiles: [{{name: plain, encryption: none}}]
rules: [{{name: r, when: 'user.role == "a"', profile: plain}}]
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "keys.json").write_text(json.dumps(KEYS))
    (tmp_path / "policy.yaml").write_text(policy("own"))
    return tmp_path


def start(place: Path) -> tuple[str, str]:
    """Do as a starting agent does; return the name of the policy and the warning."""
    source, found, warning = applied.choose(place / "policy.yaml", place / "kept.json")
    applied.keep(place / "kept.json", source)
    return found.name, warning


def apply(place: Path, text: str) -> None:
    before = applied.recall(place / "kept.json")
    assert before is not None
    source, _ = applied.gather(text.encode(), "applied", place, before.origin)
    applied.keep(place / "kept.json", source)


def test_the_policy_applied_last_goes_on(place: Path) -> None:
    assert start(place) == ("own", "")
    apply(place, policy("applied"))

    assert [start(place), start(place)] == [("applied", "")] * 2


def test_what_was_applied_needs_no_file_any_more(place: Path) -> None:
    start(place)
    apply(place, policy("applied"))
    source = applied.recall(place / "kept.json")
    (place / "keys.json").unlink()

    assert source is not None
    assert applied.again(source).name == "applied"


def test_a_node_policy_that_was_changed_comes_first(place: Path) -> None:
    start(place)
    apply(place, policy("applied"))
    (place / "policy.yaml").write_text(policy("newer"))

    assert [start(place), start(place)] == [("newer", "")] * 2


def test_new_keys_beside_the_node_policy_are_a_change(place: Path) -> None:
    start(place)
    apply(place, policy("applied"))
    (place / "keys.json").write_text(json.dumps({"keys": [{**KEYS["keys"][0], "kid": "b"}]}))

    assert start(place) == ("own", "")


@pytest.mark.parametrize("text", ["rules: [", "", "kind: Policy"])
def test_a_node_policy_that_was_broken_leaves_the_one_applied(place: Path, text: str) -> None:
    start(place)
    apply(place, policy("applied"))
    (place / "policy.yaml").write_text(text)

    name, warning = start(place)

    assert (name, "the policy applied before goes on" in warning) == ("applied", True)


def test_a_node_policy_that_is_gone_leaves_the_one_applied(place: Path) -> None:
    start(place)
    apply(place, policy("applied"))
    (place / "policy.yaml").unlink()

    name, warning = start(place)

    assert (name, "cannot be read" in warning) == ("applied", True)


def test_with_neither_there_is_nothing_to_enforce(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot be read"):
        applied.choose(tmp_path / "policy.yaml", tmp_path / "kept.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"name": "x", "text": "!", "files": [], "origin": ""}'])
def test_what_was_applied_and_is_damaged_is_not_passed_over(place: Path, text: str) -> None:
    (place / "kept.json").write_text(text)

    with pytest.raises(Fault, match="damaged"):
        start(place)
