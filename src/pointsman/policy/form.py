"""What does not fit the form of a document? The findings of its model, in the words and at the places of the file."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pointsman.model.problem import Problem, did_you_mean
from pointsman.policy.document import Document
from pointsman.policy.node import describe, plain, shown
from pointsman.policy.slips import unspaced

Form = type[BaseModel]
Path = tuple[str | int, ...]
_NOUN = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "`true` or `false`",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_KINDS = {
    "Policy": "a policy",
    "Node": "a node file",
    "PolicyTest": "a file of test cases",
    "Gateway": "a gateway file",
}
_BOUNDS = {
    "too_short": "is empty",
    "string_too_short": "is empty",
    "too_long": "has more than {} entries",
    "string_too_long": "has more than {} characters",
    "greater_than_equal": "is at least {}",
    "less_than_equal": "is at most {}",
}
# What stands at the end of a path where a value may have one of several types: not a place in the file.
_TYPES = frozenset({"str", "int", "bool", "list[str]", "constrained-int", "constrained-str"})


def misfits(
    document: Document, form: Form, error: ValidationError, patterns: Mapping[str, str] | None = None
) -> list[Problem]:
    """Return what does not fit, one problem a place. `patterns` says in words what a pattern wants."""
    grouped: dict[Path, list[ErrorDetails]] = {}
    for found in error.errors(include_url=False):
        path = found["loc"]
        # a list whose entries all fail their own checks is no empty list
        if found["type"] == "too_short" and found["input"]:
            continue
        grouped.setdefault(path[:-1] if path[1:] and _is_type(path[-1], found) else path, []).append(found)
    problems: dict[object, Problem] = {}
    entered = {path[:length] for path in grouped for length in range(len(path))}
    for path, several in grouped.items():
        # a mapping that is looked into is no mapping in the place of something else
        if isinstance(several[0]["input"], dict) and path in entered:
            continue
        problem = _problem(document, form, path, several, patterns or {})
        problems.setdefault(problem.place, problem)
    return list(problems.values())


def other_kind(document: Document, wanted: str) -> list[Problem]:
    """Say so where a file is one of ours, but of another kind: then all its fields would be wrong."""
    node = document.node("kind")
    kind = plain(node) if node is not None else None
    if kind == wanted or kind not in _KINDS:
        return []
    what = f"this is {_KINDS[str(kind)]}, not {_KINDS[wanted]}"
    return [Problem(document.find("kind"), "other-kind", what, f"{_KINDS[wanted]} has `kind: {wanted}`")]


def _is_type(step: str | int, found: ErrorDetails) -> bool:
    """Return whether a path ends in one of several types that a value may have, and not in a place in the file."""
    return step in _TYPES or str(step).startswith("literal[") or step == found.get("ctx", {}).get("class_name")


def _problem(
    document: Document, form: Form, path: Path, several: list[ErrorDetails], patterns: Mapping[str, str]
) -> Problem:
    error = next((one for one in several if one["type"] not in _NOUN), several[0])
    kind, given = error["type"], error["input"]
    context: Mapping[str, Any] = error.get("ctx", {})
    fields, known = _along(form, path)
    field = shown(fields[-1]) if fields else ""
    if kind == "missing":
        return Problem(document.find(*path), "missing-field", f"field `{path[-1]}` is missing")
    if kind == "extra_forbidden":
        word = str(path[-1])
        return Problem(
            document.find(*path, key=True),
            "unknown-field",
            f"unknown field `{shown(word)}`",
            unspaced(word) or did_you_mean(word, known),
        )
    place = document.find(*path, key="[key]" in path)
    found = f"found {describe(given)}"
    nouns = list(dict.fromkeys(_NOUN[one["type"]] for one in several if one["type"] in _NOUN))
    if kind == "literal_error":
        expected = str(context.get("expected", "")).replace("'", "`").replace("True", "`true`")
        if nouns:
            expected = _either([*expected.replace(" or ", ", ").split(", "), *nouns])
        options = [option.strip("` ") for option in expected.replace(" or ", ",").split(",")]
        word = given if isinstance(given, str) else ""
        hint = did_you_mean(word, options) if word else ""
        return Problem(place, "unknown-value", f"`{field}` is {expected}, {found}", hint)
    if kind == "string_pattern_mismatch":
        hint = patterns.get(str(context.get("pattern")), f"it must match `{context.get('pattern')}`")
        return Problem(place, "malformed", f"{describe(given)[4:]} does not fit here", hint)
    if kind in _NOUN:
        text_wanted = "a text" in nouns and isinstance(given, (bool, int, float))
        hint = "quote it to make it a text" if text_wanted else ""
        if "a mapping" in nouns and isinstance(given, str):
            hint = unspaced(given)
        return Problem(
            place, "wrong-type", f"expected {_either(nouns)}{f' for `{field}`' if field else ''}, {found}", hint
        )
    if kind in _BOUNDS:
        bound = next((context[name] for name in ("max_length", "ge", "le") if name in context), 1)
        return Problem(place, "malformed", f"`{field}` {_BOUNDS[kind].format(bound)}")
    message = str(error["msg"])
    what = f"`{field}`: {message[:1].lower()}{message[1:]}"
    return Problem(place, "malformed", what if isinstance(given, (list, dict)) else f"{what}, {found}")


def _either(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + " or " + words[-1] if words[1:] else words[0]


def _along(form: Form, path: Path) -> tuple[list[str], list[str]]:
    """Return the fields that a path goes through, and those that could stand where it ends."""
    within: Form | None = form
    fields = []
    for step in path[:-1] if path else ():
        known = names(within) if within else {}
        if str(step) in known and within:
            fields.append(str(step))
            within = next(_forms(within.model_fields[known[str(step)]].annotation), None)
    known = names(within) if within else {}
    if path and str(path[-1]) in known:
        fields.append(str(path[-1]))
    return fields, list(known)


def names(form: Form) -> dict[str, str]:
    """Return the fields of a form as a file has them, each with its name in the code."""
    return {field.alias or name: name for name, field in form.model_fields.items()}


def _forms(annotation: Any) -> Iterator[Form]:
    """Yield the forms that a value of this type can have, in lists and mappings too."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _forms(inner)
