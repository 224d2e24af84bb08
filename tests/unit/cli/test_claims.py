import pytest

from pointsman.cli.claims import claims_of
from pointsman.model.problem import Invalid


def test_a_claim_is_json_where_it_can_be_read_as_such() -> None:
    assert claims_of(["sub=ada", "level=3", 'groups=["a", "b"]', "note=a=b", "empty="], "CLAIM") == {
        "sub": "ada",
        "level": 3,
        "groups": ["a", "b"],
        "note": "a=b",
        "empty": "",
    }


@pytest.mark.parametrize("word", ["foo", "=bar", ""])
def test_a_word_without_name_or_sign_is_no_claim(word: str) -> None:
    with pytest.raises(Invalid, match="is not `NAME=VALUE`"):
        claims_of(["sub=ada", word], "CLAIM")
