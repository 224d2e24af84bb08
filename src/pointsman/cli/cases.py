"""Requests with the decisions that are expected of a policy: its tests, as a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from pointsman.cli.asked import Asked, as_request, with_stand_ins
from pointsman.cli.files import read_bytes, reader
from pointsman.model.attribute import Value
from pointsman.model.context import Context
from pointsman.model.decision import Deny, Malformed, Misdirected, Permit
from pointsman.model.problem import Invalid, Problem
from pointsman.policy.context import read as read_context
from pointsman.policy.decide import decide
from pointsman.policy.diagram import Compiled, compile_policy
from pointsman.policy.document import read
from pointsman.policy.load import load_policy
from pointsman.policy.node import plain

Json = StrictStr | StrictInt | bool | list[StrictStr]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Expected(_Form):
    profile: StrictStr | None = None
    deny: Literal[True] | None = None
    status: Literal[400, 421] | None = None
    rule: StrictStr | None = None


class Case(_Form):
    name: StrictStr
    url: StrictStr
    method: StrictStr = "GET"
    headers: dict[StrictStr, StrictStr] = {}
    claims: dict[StrictStr, Json] | None = None
    address: StrictStr = ""
    uid: StrictInt | None = None
    grpc: bool = False
    facts: dict[StrictStr, StrictStr | StrictInt | bool] = {}
    expect: Expected


class CasesDocument(_Form):
    apiVersion: Literal["pointsman/v1"]
    kind: Literal["PolicyTest"]
    cases: Annotated[tuple[Case, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case: what was expected, what was decided, and whether they agree."""

    name: str
    expected: str
    decided: str
    passed: bool


def run_cases(policy_file: Path, cases_file: Path) -> list[Outcome]:
    """Return the outcome of every case. Raises `Invalid` where either file is not in order."""
    policy = with_stand_ins(load_policy(read_bytes(policy_file), str(policy_file), reader(policy_file.parent)))
    document = read(read_bytes(cases_file), str(cases_file))
    try:
        form = CasesDocument.model_validate(plain(document.root))
    except ValidationError as error:
        raise Invalid(
            Problem(document.find(*found["loc"]), "malformed", found["msg"].lower()) for found in error.errors()
        ) from error
    compiled: dict[tuple[tuple[str, Value], ...], Compiled] = {}
    outcomes = []
    for case in form.cases:
        facts: Mapping[str, Value] = {f"node.{name}": value for name, value in case.facts.items()}
        key = tuple(sorted(facts.items()))
        if key not in compiled:
            compiled[key] = compile_policy(policy, facts)
        outcomes.append(_run(case, compiled[key]))
    return outcomes


def _run(case: Case, compiled: Compiled) -> Outcome:
    headers = tuple((name.lower(), value) for name, value in case.headers.items())
    asked = Asked(case.method, case.url, headers, case.address, case.uid, case.grpc)
    request, _ = as_request(asked, compiled.policy)
    context = read_context(request, compiled.policy, case.claims)
    decision = decide(compiled, context) if isinstance(context, Context) else context
    match decision:
        case Permit(profile, rule):
            decided = {"profile": profile, "rule": rule}
        case Deny(rule):
            decided = {"deny": "true", "rule": rule}
        case Malformed():
            decided = {"status": "400"}
        case Misdirected():
            decided = {"status": "421"}
    given = case.expect.model_dump(exclude_none=True)
    expected = {name: str(value).lower() if value is True else str(value) for name, value in given.items()}
    passed = bool(expected) and all(decided.get(name) == value for name, value in expected.items())
    return Outcome(case.name, _words(expected), _words(decided), passed)


def _words(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
