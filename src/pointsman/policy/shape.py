"""Does a document have the form of a policy? Says what does not, and keeps what does for further checks."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pointsman.model.problem import Invalid, Problem
from pointsman.policy import schema
from pointsman.policy.document import Document
from pointsman.policy.form import misfits, names, other_kind
from pointsman.policy.node import Plain, plain

_PATTERN = {
    schema.CLAIM: "a claim of the token itself, without dots: nested claims are not read",
    schema.NAME: "a name begins with a letter or digit and has letters, digits, `.`, `_` and `-`, at most 63",
    schema.ATTRIBUTE: "an attribute has a namespace and a name, like `user.role`",
    schema.BANDWIDTH: "write a whole number and `kbit`, `Mbit` or `Gbit`, like `10Mbit`",
    schema.TIME: "write a whole number and `s`, `m` or `h`, like `10m`",
    schema.PORTS: "write a port or a range, like `8000-8099`",
    schema.PATH: "a path begins with `/` and has no query, fragment or space",
}
_EMPTY: dict[str, Plain] = {"apiVersion": "pointsman/v1", "kind": "Policy", "metadata": {"name": "unnamed"}}


@dataclass(frozen=True, slots=True)
class Shape:
    """The part of a document that has the right form. `kept` maps list positions to those in the file."""

    policy: schema.PolicyDocument
    kept: Mapping[str, tuple[int, ...]]
    problems: tuple[Problem, ...]

    def index(self, section: str, position: int) -> int:
        """Return where an element of a list stands in the file."""
        return self.kept[section][position] if section in self.kept else position


def shape(document: Document) -> Shape:
    """Validate a document. What is malformed is reported and left out; the rest is there to be checked."""
    content = plain(document.root)
    if not isinstance(content, dict):
        raise TypeError("a document is a mapping")
    if other := other_kind(document, "Policy"):
        raise Invalid([*document.problems, *other])
    try:
        return Shape(schema.PolicyDocument.model_validate(content), {}, ())
    except ValidationError as error:
        errors = error.errors(include_url=False)
        problems = misfits(document, schema.PolicyDocument, error, _PATTERN)
    kept: dict[str, tuple[int, ...]] = {}
    rest = _without(content, errors, kept)
    return Shape(schema.PolicyDocument.model_validate(_EMPTY | rest), kept, tuple(problems))


def _without(
    content: Mapping[str, Plain], errors: list[ErrorDetails], kept: dict[str, tuple[int, ...]]
) -> dict[str, Plain]:
    broken: dict[str, set[str | int]] = {}
    for error in errors:
        section, *inner = error["loc"] or ("",)
        parts = broken.setdefault(str(section), set())
        parts.add(inner[0] if inner else "")
    rest: dict[str, Plain] = {}
    for section, value in content.items():
        parts = broken.get(section, set())
        if not parts:
            rest[section] = value
        elif "" in parts or section not in names(schema.PolicyDocument):
            continue
        elif isinstance(value, list):
            kept[section] = tuple(i for i in range(len(value)) if i not in parts)
            rest[section] = [value[i] for i in kept[section]]
        elif isinstance(value, dict) and section in ("attributes", "catalogue"):
            rest[section] = {key: item for key, item in value.items() if key not in parts}
    return rest
