"""What may the author of a condition have meant where CEL refuses it? Other languages' words, quotes, types."""

import re
from collections.abc import Sequence

from pointsman.model.problem import did_you_mean

FUNCTIONS = ("startsWith", "endsWith", "contains", "matches", "within")
_INSTEAD = {
    "and": "&&",
    "&": "&&",
    "or": "||",
    "|": "||",
    "not": "!",
    "is": "==",
    "=": "==",
    "<>": "!=",
    "=>": ">=",
    "=<": "<=",
    "=~": ".matches(…)",
    "like": ".matches(…)",
}
_CURLY = ("\u2018", "\u2019", "\u201c", "\u201d")
_SIGN = re.compile(r"=[~<>]|<>|=(?!=)|&(?!&)|\|(?!\|)")
_WORD = re.compile(r"[A-Za-z_]\w*")
_NOT_BEFORE = re.compile(r"\b(not)\s+\Z", re.IGNORECASE)
_UNLISTED = re.compile(r"\bin\s*[({][^\[\]{}()]*\Z")
_TYPES = {"string": "a text", "int": "a number", "bool": "a boolean", "double": "a fraction", "null_type": "null"}


def foreign(text: str, offset: int) -> tuple[int, str, str] | None:
    """Return the operator of another language that stands here, or just before: its place, it, and what to write."""
    found = _sign_at(text, offset) or _word_at(text, offset)
    if found is None and (before := _NOT_BEFORE.search(text[:offset])):
        found = _word_at(text, before.start(1))
    if found is None:
        return None
    at, word = found
    if word.lower() == "not" and re.match(r"not\s+in\b", text[at:], re.IGNORECASE):
        return at, word, "write `!(a in […])`"
    return at, word, f"write `{_INSTEAD[word.lower()]}`"


def syntax(text: str, offset: int, what: str) -> str:
    """Return what may help where CEL cannot read on, for the first thing that it stumbles over."""
    if text[offset : offset + 1] in _CURLY:
        return 'a text is written in straight quotes: `"…"`'
    if _UNLISTED.search(text[:offset]):
        return 'a list is written `["a", "b"]`'
    if re.search(r"\d\Z", text[:offset]) and re.match(r"\.\d", text[offset:]):
        return "an address is written in quotes"
    if "<EOF>' expecting" in what or "at '<EOF>'" in what:
        return "a `(` is not closed" if text.count("(") > text.count(")") else ""
    return "nothing opens it" if text[offset : offset + 1] in (")", "]", "}") else ""


def name(word: str, known: tuple[str, ...]) -> str:
    """Return what may help where this is no attribute."""
    if word.lower() in ("true", "false"):
        return f"write `{word.lower()}`"
    hint = did_you_mean(word, known)
    if "." not in word and not hint.startswith("did"):
        return f'a text is written in quotes: `"{word}"`'
    return hint


def function(word: str, method: bool) -> str:
    """Return what may help where this is no function; `method`: it follows a value and a dot."""
    if word.lower() in ("equals", "eq", "is"):
        return "write `==`"
    if word not in FUNCTIONS:
        return did_you_mean(word, FUNCTIONS)
    return "it takes one value" if method else f"it follows what it looks at: `a.{word}(…)`"


def types(sign: str, kinds: Sequence[str]) -> tuple[str, str]:
    """Return in words what an operator or function cannot be applied to, and what may help."""
    told = " and ".join(_TYPES.get(kind, "a list" if kind.startswith("list") else kind) for kind in kinds)
    return f"`{sign}` cannot be applied to {told}", _types_hint(sign, kinds)


def _types_hint(sign: str, kinds: Sequence[str]) -> str:
    lists = [kind.startswith("list") for kind in kinds]
    if sign in ("&&", "||", "!", "?:"):
        return "each part of a condition is a test itself: compare a text, number or list with a value"
    if sign in ("+", "-", "*", "/", "%"):
        return "conditions do not calculate; compare an attribute with a value"
    if sign == "in" and not lists[-1]:
        return 'a list follows `in`: `["a", "b"]`; part of a text is `.contains(…)`, part of a network `.within(…)`'
    if any(lists) and not (sign == "in" and not lists[0]):
        return 'write `"a" in list`: the one value first, and several of these joined by `||`'
    if "null_type" in kinds:
        return "`absent:` of the attribute says what an absence means"
    if sign in FUNCTIONS and kinds[0] != "string":
        return f"`{sign}` is for texts; compare by `==`, `<`, `>=`"
    inner = {kind.removeprefix("list(").removesuffix(")") for kind in kinds}
    if "double" in inner or "uint" in inner:
        return "write a whole number"
    if "bool" in inner:
        return "`true` and `false` are written without quotes, and compared by `==` alone"
    return "a text is written in quotes, a number without" if inner == {"string", "int"} else ""


def _sign_at(text: str, offset: int) -> tuple[int, str] | None:
    at = offset - 1 if text[:offset].endswith("<") else offset  # CEL stumbles over the second half of `<>`
    found = _SIGN.match(text, at)
    return (at, found.group()) if found else None


def _word_at(text: str, at: int) -> tuple[int, str] | None:
    found = _WORD.match(text, at)
    return (at, found.group()) if found and found.group().lower() in _INSTEAD else None
