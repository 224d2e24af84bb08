"""The JSON Schema for editors is the one that the loader goes by."""

from pathlib import Path

from pointsman.policy.schema import json_schema


def test_the_schema_in_docs_is_generated_from_the_code() -> None:
    path = Path(__file__).parents[3] / "docs" / "policy.schema.json"

    assert path.read_text() == json_schema(), "run: python -m pointsman.policy.schema > docs/policy.schema.json"
