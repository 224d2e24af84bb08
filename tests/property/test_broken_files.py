"""Whatever is done to a policy file: it loads, or its problems are told. Nothing else ever comes out."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.model.problem import Invalid
from pointsman.policy.load import load

EXAMPLE = (Path(__file__).parents[2] / "examples" / "policy.yaml").read_text()
KEYS = b'{"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]}'
# fmt: off
PIECES = st.sampled_from((
    "{", "}", "[", "]", ":", "- ", '"', "'", "|", "&a", "*a", "!!x", "null", "3", "true", "1.5", "..", "é", "\t", "#",
    "\r", "\x00", "<<: *a", "user.", "(", "deny", "\\", "@", "%", '""', "[]", "{a: 1}", "x" * 70, "\ud7ff", "9" * 30,
))
# fmt: on
EDITS = st.lists(st.tuples(st.integers(0, len(EXAMPLE)), st.integers(0, 30), PIECES), min_size=1, max_size=4)


def told(data: bytes) -> list[str] | None:
    try:
        load(data, "p.yaml", lambda _: KEYS)
    except Invalid as invalid:
        return [str(problem) for problem in invalid.problems]
    return None


@settings(max_examples=400, deadline=None)
@given(edits=EDITS)
def test_a_damaged_policy_loads_or_tells_what_is_wrong(edits: list[tuple[int, int, str]]) -> None:
    text = EXAMPLE
    for at, length, piece in edits:
        text = text[:at] + piece + text[at + length :]

    found = told(text.encode())

    assert found is None or found
    assert all(one.isprintable() for one in found or ())


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200))
def test_bytes_that_are_no_policy_are_told_so(data: bytes) -> None:
    assert told(data)
