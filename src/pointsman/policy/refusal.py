"""What CEL says about a condition that it refuses, in the words of a policy's author."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from pointsman.policy import meant

SIGNS = {"_==_": "==", "_!=_": "!=", "_<_": "<", "_<=_": "<=", "_>_": ">", "_>=_": ">=", "@in": "in"}
_TOLD = {**SIGNS, "_?_:_": "?:"}
_ERROR = re.compile(r"^(?:INVALID_ARGUMENT: )?ERROR: <input>:(\d+):(\d+): (.*)$", re.MULTILINE)
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")
_NO_OVERLOAD = re.compile(r"found no matching overload for '([^']*)' applied to '(?:[^'(]*\.)?\(?([^']*?)\)?'")
_UNCLOSED = re.compile(r"""token recognition error at: '["']""")


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong in a condition, and at which character of it."""

    offset: int
    label: str
    what: str
    hint: str = ""


def refusals(text: str, message: str, known: Iterable[str], ignore: frozenset[str]) -> tuple[Trouble, ...]:
    """Return what CEL's message says. Names in `ignore` are declared, but wrongly: that is reported elsewhere."""
    if "recursion" in message.partition("\n")[0]:
        return (Trouble(0, "too-deep", "the condition is nested too deeply", "split it into several rules"),)
    names = tuple(known)
    found = [(_offset(text, int(line), int(column)), what) for line, column, what in _ERROR.findall(message)]
    if not found:
        return (Trouble(0, "syntax", f"is not CEL: {message.splitlines()[0] if message else 'no reason is given'}"),)
    troubles = [
        _refusal(text, offset, what.removesuffix(" [INVALID_ARGUMENT]"), names, ignore) for offset, what in found
    ]
    unclosed = next((offset for offset, what in found if _UNCLOSED.search(what)), None)
    if unclosed is not None and not meant.foreign(text, found[0][0]):
        return (Trouble(unclosed, "syntax", "a quote that opens here is never closed"),)
    syntax = [trouble for trouble in troubles if trouble and trouble.label == "syntax"]
    # after the first syntax error a parser only guesses
    return tuple(syntax[:1]) if syntax else tuple(trouble for trouble in troubles if trouble)


def start(text: str, offset: int) -> int:
    """Return where the name at this offset begins: CEL points at its last dot or its parenthesis."""
    if text[offset : offset + 1] not in (".", "("):
        return offset
    begin = offset
    while begin > 0 and (text[begin - 1].isalnum() or text[begin - 1] in "_."):
        begin -= 1
    return begin


def _refusal(text: str, offset: int, what: str, known: tuple[str, ...], ignore: frozenset[str]) -> Trouble | None:
    if undeclared := _UNDECLARED.search(what):
        name = undeclared.group(1)
        if name in ignore:
            return None
        at = start(text, offset)
        if text[at:].startswith("has("):
            return Trouble(at, "unknown-function", "`has` is not needed", "`absent:` says what an absence means")
        if text[offset : offset + 1] == "(" or text[at:].startswith(f"{name}("):
            if foreign := meant.foreign(name, 0):
                return Trouble(at, "unknown-function", f"`{name}` is not an operator", foreign[2])
            told = f"`{name}` cannot be called like this" if name in meant.FUNCTIONS else f"unknown function `{name}`"
            return Trouble(at, "unknown-function", told, meant.function(name, "." in text[at:offset]))
        return Trouble(at, "unknown-attribute", f"unknown attribute `{name}`", _name(name, known))
    if overload := _NO_OVERLOAD.search(what):
        sign = _TOLD.get(overload.group(1), overload.group(1).strip("_"))
        return Trouble(start(text, offset), "wrong-type", *meant.types(sign, overload.group(2).split(", ")))
    if "of a select operation" in what:
        return Trouble(start(text, offset), "unknown-attribute", "an attribute has no fields", "check the name")
    if foreign := meant.foreign(text, offset):
        at, word, instead = foreign
        return Trouble(at, "syntax", f"`{word}` is not an operator", instead)
    hint = meant.syntax(text, offset, what)
    what = re.sub(r",? expecting .*", "", what.removeprefix("Syntax error: "))
    if "'<EOF>'" in what:
        return Trouble(offset, "syntax", "is not CEL: the condition ends too early", hint)
    what = re.sub(r"^(?:mismatched|extraneous) input ('.*')$", r"\1 is not expected here", what)
    what = re.sub(r"^token recognition error at: '(.*?)\s*'$", r"'\1' has no meaning here", what)
    return Trouble(offset, "syntax", f"is not CEL: {what.replace(chr(39), '`')}", hint)


@lru_cache(maxsize=256)
def _name(word: str, known: tuple[str, ...]) -> str:
    return meant.name(word, known)


def _offset(text: str, line: int, column: int) -> int:
    return sum(len(before) + 1 for before in text.split("\n")[: line - 1]) + column - 1
