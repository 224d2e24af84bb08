"""Claims that a person writes as `name=value`: for a token to be signed, or as if a verified one had them."""

import json
from collections.abc import Iterable

from pointsman.model.problem import Invalid, Place, Problem


def claims_of(words: Iterable[str], place: str) -> dict[str, object]:
    """Return the claims; a value is JSON where it can be read as such, else text."""
    pairs = {word: word.partition("=") for word in words}
    wrong = [word for word, (name, sign, _) in pairs.items() if not (name and sign)]
    if wrong:
        hint = "write it like `role=admin`"
        raise Invalid(Problem(Place(place), "no-claim", f"`{word}` is not `NAME=VALUE`", hint) for word in wrong)
    return {name: _value(text) for name, _, text in pairs.values()}


def _value(text: str) -> object:
    try:
        value: object = json.loads(text)
    except ValueError:
        return text
    return value
