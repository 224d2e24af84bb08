"""Headers for context: one for each fact, never one for two."""

from hypothesis import given
from hypothesis import strategies as st

from pointsman.dataplane.headers import claim_header


def test_a_claim_becomes_a_header_name() -> None:
    assert claim_header("role") == "x-pointsman-claim-role"
    assert claim_header("Realm_role") == "x-pointsman-claim-.52.ealm.5f.role"


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_claims_have_different_headers(one: str, two: str) -> None:
    assert (claim_header(one) == claim_header(two)) is (one == two)
    assert claim_header(one).lower() == claim_header(one)
