"""Does a document have the form of a policy? Says what does not, and keeps what does for further checks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pointsman.model.problem import Problem, did_you_mean
from pointsman.policy import schema
from pointsman.policy.document import Document
from pointsman.policy.node import Plain, describe, plain, shown

_NOUN = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "`true` or `false`",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_BOUNDS = {
    "too_short": "is empty",
    "string_too_short": "is empty",
    "too_long": "has more than {} entries",
    "string_too_long": "has more than {} characters",
    "greater_than_equal": "is at least {}",
    "less_than_equal": "is at most {}",
}
_PATTERN = {
    schema.CLAIM: "a claim of the token itself, without dots: nested claims are not read",
    schema.NAME: "a name begins with a letter or digit and has letters, digits, `.`, `_` and `-`, at most 63",
    schema.ATTRIBUTE: "an attribute has a namespace and a name, like `user.role`",
    schema.BANDWIDTH: "write a whole number and `kbit`, `Mbit` or `Gbit`, like `10Mbit`",
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
    try:
        return Shape(schema.PolicyDocument.model_validate(content), {}, ())
    except ValidationError as error:
        errors = error.errors(include_url=False)
    problems = {problem.place: problem for problem in reversed([_problem(document, found) for found in errors])}
    kept: dict[str, tuple[int, ...]] = {}
    rest = _without(content, errors, kept)
    return Shape(schema.PolicyDocument.model_validate(_EMPTY | rest), kept, tuple(problems.values()))


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
        elif "" in parts or section not in _names(schema.PolicyDocument):
            continue
        elif isinstance(value, list):
            kept[section] = tuple(i for i in range(len(value)) if i not in parts)
            rest[section] = [value[i] for i in kept[section]]
        elif isinstance(value, dict) and section in ("attributes", "catalogue"):
            rest[section] = {key: item for key, item in value.items() if key not in parts}
    return rest


def _problem(document: Document, error: ErrorDetails) -> Problem:
    kind, path, given = error["type"], error["loc"], error["input"]
    context: Mapping[str, Any] = error.get("ctx", {})
    field = next((str(step) for step in reversed(path) if isinstance(step, str) and step in _FIELDS), "")
    if kind == "missing":
        return Problem(document.find(*path), "missing-field", f"field `{path[-1]}` is missing")
    if kind == "extra_forbidden":
        hint = did_you_mean(str(path[-1]), _known(path))
        return Problem(document.find(*path, key=True), "unknown-field", f"unknown field `{shown(str(path[-1]))}`", hint)
    place = document.find(*path, key="[key]" in path)
    found = f"found {describe(given)}"
    if kind == "literal_error":
        known = str(context.get("expected", "")).replace("'", "`").replace("True", "`true`")
        word = given if isinstance(given, str) else ""
        options = [option.strip("` ") for option in known.replace(" or ", ",").split(",")]
        return Problem(
            place, "unknown-value", f"`{field}` is {known}, {found}", did_you_mean(word, options) if word else ""
        )
    if kind == "string_pattern_mismatch":
        hint = _PATTERN.get(str(context.get("pattern")), f"it must match `{context.get('pattern')}`")
        return Problem(place, "malformed", f"{describe(given)[4:]} does not fit here", hint)
    if kind in _NOUN:
        hint = "quote it to make it a text" if _NOUN[kind] == "a text" and isinstance(given, (bool, int, float)) else ""
        return Problem(
            place, "wrong-type", f"expected {_NOUN[kind]}{f' for `{field}`' if field else ''}, {found}", hint
        )
    if kind in _BOUNDS:
        bound = next((context[name] for name in ("max_length", "ge", "le") if name in context), 1)
        return Problem(place, "malformed", f"`{field}` {_BOUNDS[kind].format(bound)}")
    message = str(error["msg"])
    return Problem(
        place,
        "malformed",
        f"`{field}`: {message[:1].lower()}{message[1:]}"
        + (f", {found}" if not isinstance(given, (list, dict)) else ""),
    )


def _known(path: tuple[str | int, ...]) -> list[str]:
    """Return the fields that could stand where this path ends."""
    model: type[BaseModel] = schema.PolicyDocument
    for step in path[:-1]:
        model = _MODELS.get((model.__name__, str(step)), model)
    return _names(model)


_MODELS: Mapping[tuple[str, str], type[BaseModel]] = {
    ("PolicyDocument", "metadata"): schema.Metadata,
    ("PolicyDocument", "identity"): schema.Identity,
    ("Identity", "jwt"): schema.Jwt,
    ("PolicyDocument", "attributes"): schema.AttributeSpec,
    ("PolicyDocument", "catalogue"): schema.CatalogueSpec,
    ("CatalogueSpec", "entries"): schema.CatalogueEntry,
    ("PolicyDocument", "operations"): schema.Override,
    ("PolicyDocument", "destinations"): schema.DestinationSpec,
    ("PolicyDocument", "profiles"): schema.ProfileSpec,
    ("ProfileSpec", "select"): schema.Select,
    ("ProfileSpec", "limits"): schema.LimitsSpec,
    ("LimitsSpec", "requests"): schema.RateSpec,
    ("LimitsSpec", "perUser"): schema.RateSpec,
    ("LimitsSpec", "perDestination"): schema.RateSpec,
    ("PolicyDocument", "rules"): schema.RuleSpec,
    ("PolicyDocument", "default"): schema.Default,
}


def _names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


_FIELDS = frozenset(_names(schema.PolicyDocument)).union(*(_names(model) for model in _MODELS.values()))
