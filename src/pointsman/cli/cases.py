"""Requests with the decisions that are expected of a policy: its tests, as a file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from pointsman.cli.asked import Asked, as_request, with_stand_ins
from pointsman.cli.files import read_bytes, reader
from pointsman.model.attribute import Value
from pointsman.model.context import Context, Request
from pointsman.model.decision import Deny, Malformed, Misdirected, Permit
from pointsman.model.policy import Policy
from pointsman.model.problem import Invalid, Place, Problem, did_you_mean, moved
from pointsman.policy.context import read as read_context
from pointsman.policy.decide import decide
from pointsman.policy.diagram import Compiled, compile_policy
from pointsman.policy.document import Document, read
from pointsman.policy.form import misfits, other_kind
from pointsman.policy.holding import unheld
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
    uid: Annotated[StrictInt, Field(ge=0, le=0xFFFFFFFE)] | None = None
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
        wrong = other_kind(document, "PolicyTest") or misfits(document, CasesDocument, error)
        raise Invalid([*document.problems, *wrong]) from error
    found = [*document.problems, *_misplaced(form, document, policy)]
    if found:
        raise Invalid(found)
    compiled: dict[tuple[tuple[str, Value], ...], Compiled] = {}
    outcomes = []
    for number, case in enumerate(form.cases):
        facts: Mapping[str, Value] = {f"node.{name}": value for name, value in case.facts.items()}
        key = tuple(sorted(facts.items()))
        if key not in compiled:
            compiled[key] = compile_policy(policy, facts)
        outcomes.append(_run(case, compiled[key], document.find("cases", number)))
    return outcomes


def _misplaced(form: CasesDocument, document: Document, policy: Policy) -> Iterator[Problem]:
    """What is expected must be something that this policy could decide."""
    profiles = [profile.name for profile in policy.profiles]
    rules = [rule.name for rule in policy.rules]
    for number, case in enumerate(form.cases):
        want, where = case.expect, ("cases", number, "expect")
        if not want.model_dump(exclude_none=True):
            hint = "say one of `profile`, `deny`, `status` and `rule`"
            yield Problem(document.find(*where), "expects-nothing", f"case `{case.name}` expects nothing", hint)
        if want.profile is not None and want.profile not in profiles:
            what, hint = f"there is no profile `{want.profile}`", did_you_mean(want.profile, profiles)
            yield Problem(document.find(*where, "profile"), "unknown-profile", what, hint)
        if want.rule is not None and want.rule not in rules:
            what, hint = f"there is no rule `{want.rule}`", did_you_mean(want.rule, rules)
            yield Problem(document.find(*where, "rule"), "unknown-rule", what, hint)


def _run(case: Case, compiled: Compiled, place: Place) -> Outcome:
    headers = tuple((name.lower(), value) for name, value in case.headers.items())
    asked = Asked(case.method, case.url, headers, case.address, case.uid, case.grpc)
    request = _request(asked, compiled.policy, place)
    context = read_context(request, compiled.policy, case.claims)
    decision = decide(compiled, context) if isinstance(context, Context) else context
    nobody = ""
    if isinstance(decision, Permit) and isinstance(context, Context):
        nobody = unheld(decision, request, compiled.policy, context.facts, case.claims or {})
    match decision:
        case Permit(_, rule) if nobody:
            decided = {"deny": "true", "rule": rule}
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
    return Outcome(case.name, _words(expected), _words(decided) + (f" ({nobody})" if nobody else ""), passed)


def _request(asked: Asked, policy: Policy, place: Place) -> Request:
    try:
        return as_request(asked, policy)[0]
    except Invalid as invalid:
        raise Invalid(moved(problem, place) for problem in invalid.problems) from None


def _words(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
