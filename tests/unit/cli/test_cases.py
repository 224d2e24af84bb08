from pathlib import Path

import pytest

from pointsman.cli.cases import run_cases
from pointsman.model.problem import Invalid

POLICY = Path(__file__).parents[3] / "examples" / "policy.yaml"
HEAD = "apiVersion: pointsman/v1\nkind: PolicyTest\ncases:\n"


def outcomes(tmp_path: Path, *cases: str) -> list[tuple[str, str, bool]]:
    (tmp_path / "cases.yaml").write_text(HEAD + "".join(f"  - {case}\n" for case in cases))
    return [(o.expected, o.decided, o.passed) for o in run_cases(POLICY, tmp_path / "cases.yaml")]


def test_a_case_passes_where_all_that_is_expected_was_decided(tmp_path: Path) -> None:
    read = "{name: a, url: 'http://public.example/', expect: {profile: plain, rule: public-read}}"
    other = "{name: b, url: 'http://public.example/', expect: {profile: plain, rule: payment-calls}}"
    deny = "{name: c, url: 'http://records.example/', expect: {deny: true}}"

    assert outcomes(tmp_path, read, other, deny) == [
        ("profile plain, rule public-read", "profile plain, rule public-read", True),
        ("profile plain, rule payment-calls", "profile plain, rule public-read", False),
        ("deny true", "deny true, rule default", True),
    ]


def test_a_holders_profile_without_a_holder_is_a_refusal(tmp_path: Path) -> None:
    asked = "{name: a, url: 'http://records.example/patients/7', claims: {%s}, expect: {%s}}"
    ada = asked % ("role: admin, sub: ada", "profile: vault")
    nobody = asked % ("role: admin", "profile: vault")
    refused = asked % ("role: admin", "deny: true, rule: admin-confidential")
    why = "deny true, rule admin-confidential (nobody is known whose tunnel it could be, no user is proven)"

    assert outcomes(tmp_path, ada, nobody, refused) == [
        ("profile vault", "profile vault, rule admin-confidential", True),
        ("profile vault", why, False),
        ("deny true, rule admin-confidential", why, True),
    ]


@pytest.mark.parametrize(
    ("case", "label", "hint"),
    [
        ("{name: a, url: 'http://public.example/', expect: {}}", "expects-nothing", "say one of"),
        ("{name: a, url: 'http://x/', expect: {profile: valt}}", "unknown-profile", "did you mean `vault`?"),
        ("{name: a, url: 'http://x/', expect: {rule: public-red}}", "unknown-rule", "did you mean `public-read`?"),
        ("{name: a, url: 'http://x/', clams: {}, expect: {deny: true}}", "unknown-field", "did you mean `claims`?"),
        ("{name: a, url: 'http://x/', address: foo, expect: {deny: true}}", "no-address", "write it like"),
        ("{name: a, url: 'ftp://x/', expect: {deny: true}}", "no-url", "known are `http`"),
    ],
)
def test_what_no_policy_could_decide_is_one_problem_with_a_hint(
    tmp_path: Path, case: str, label: str, hint: str
) -> None:
    with pytest.raises(Invalid) as invalid:
        outcomes(tmp_path, case)

    (problem,) = invalid.value.problems
    assert (problem.label, problem.hint.startswith(hint), problem.place.line) == (label, True, 4)


@pytest.mark.parametrize(
    "case",
    [
        "{name: a, expect: {deny: true}}",
        "{name: a, url: 'http://x/', expect: {deny: false}}",
        "{name: a, url: 'http://x/', expect: {status: 200}}",
        "{name: a, url: 'http://x/', expct: {deny: true}}",
        "7",
    ],
)
def test_a_case_that_is_none_is_a_problem_with_its_place(tmp_path: Path, case: str) -> None:
    with pytest.raises(Invalid) as invalid:
        outcomes(tmp_path, case)
    assert all(problem.place.line >= 3 for problem in invalid.value.problems)
