"""What did the author of a file do where YAML stumbles? Its parser says only what it expected there."""

import re
from dataclasses import dataclass

from pointsman.policy.node import shown

_UNSPACED = re.compile(r"[ \t]*(?:- +)*[\w.-]+:(?=[^\s:/])")
_KEY = re.compile(r"[ \t]*(?:- +)*[^\s'\"\[{#&*!|>%@`,?][^\n]*?: +(?=\S)")
_WHOLE = "put the whole value in quotes"
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class Slip:
    """What was done, at which character of the text, and how to mend it."""

    at: int
    what: str
    hint: str


def slip(problem: str, context: str, text: str, at: int, begun: int) -> Slip | None:
    """Return what was done, None where that is not known. YAML's words are about `at`, in something begun earlier."""
    sign = text[at : at + 1]
    if sign == "\t":
        return Slip(at, "a tab cannot indent", "indent with spaces")
    if "an alias" in context or "an anchor" in context or "a tag" in context:
        return _named(text, begun)
    if "tag handle" in problem:
        return _named(text, at)
    if "node content" in problem and text[_line_start(text, at) : at].strip() and sign.strip():
        return Slip(at, f"a text cannot begin with `{shown(sign)}`", _quoted(text, at))
    if "cannot start any token" in problem or "a directive" in context:
        first = at if "token" in problem else begun
        return Slip(first, f"a text cannot begin with `{shown(text[first : first + 1])}`", _quoted(text, first))
    if "a quoted scalar" in context:
        return Slip(begun, "a quote that opens here is never closed", "close it; a quote inside `'…'` is doubled")
    if "a block scalar" in context:
        return Slip(begun, f"`{text[begun : begun + 1]}` begins a text of several lines", _quoted(text, begun))
    if "mapping values" in problem:
        return _colon(text, at)
    if "block sequence entries" in problem:
        return Slip(at, "a list cannot begin behind its key", "begin it on a line of its own, or write it in `[…]`")
    if "a plain scalar" in context:
        return Slip(at, "`:` stands in a text without quotes", _quoted(text, _begin(text, at)))
    if "a simple key" in context:
        return _no_pair(text, begun)
    if "flow" in context:
        return _in_brackets(text, at, begun)
    if "a block" in context:
        return (
            _after_quote(text, at) or _indented(text, at) or Slip(at, f"`{shown(sign)}` is not expected here", _WHOLE)
        )
    return None


def unspaced(text: str) -> str:
    """Return a hint where this is `key:value`, in which YAML sees one word; empty where it is not."""
    found = _UNSPACED.match(text)
    return f"a space is due after `{shown(found.group().strip(' -'))}`" if found else ""


def _named(text: str, at: int) -> Slip:
    means = {"*": "an alias", "&": "an anchor"}.get(text[at : at + 1], "a tag")
    return Slip(at, f"`{text[at]}` without quotes begins {means}", _quoted(text, _begin(text, at)))


def _colon(text: str, at: int) -> Slip | None:
    """A colon where none may be: in a text without quotes, or after a line that is no pair."""
    start = _line_start(text, at)
    if (key := _KEY.match(text, start)) and key.end() < at:
        return Slip(at, "`:` with a space stands in a text without quotes", _quoted(text, key.end()))
    before = text[:start].rstrip()
    above = _line_start(text, len(before))
    return _no_space(text, above) or _indented(text, start + len(text[start:at]) - len(text[start:at].lstrip(" -")))


def _no_pair(text: str, at: int) -> Slip:
    line = text[at:].split("\n", 1)[0].strip()
    return _no_space(text, at) or Slip(at, f"`{shown(line)}` is no `key: value`", "a key and `:` come first")


def _no_space(text: str, start: int) -> Slip | None:
    found = _UNSPACED.match(text, start)
    return Slip(found.end() - 1, "a space is missing after `:`", unspaced(found.group() + "x")) if found else None


def _in_brackets(text: str, at: int, begun: int) -> Slip | None:
    """In `[…]` or `{…}`, which begun before."""
    if text[begun : begun + 1] not in ("[", "{"):
        return None
    sign, start = text[at : at + 1], _line_start(text, at)
    key = re.compile(r"[\w.-]+(?=\s*:\s)").match(text, at)
    first_of_later_line = start > begun and not text[start:at].strip(" -")
    if sign in ("", "]", "}") or first_of_later_line or (sign == ":" and start > begun and "," not in text[start:at]):
        opened = text[begun : begun + 1]
        where = f"line {text.count(chr(10), 0, begun) + 1}, column {begun - _line_start(text, begun) + 1}"
        if start > begun and sign == ":":
            at = start + len(text[start:at]) - len(text[start:at].lstrip(" -"))
        closing = "]" if opened == "[" else "}"
        return Slip(at, f"`{closing}` is missing before this", f"`{opened}` opens at {where}")
    if key:
        return Slip(at, f"`,` is missing before `{shown(key.group())}`", "entries in brackets are parted by `,`")
    if sign == ":":
        return Slip(at, "`:` stands in a text without quotes, or `,` is missing", _quoted(text, _begin(text, at)))
    return _after_quote(text, at) or Slip(at, f"`{shown(sign)}` is not expected here", _WHOLE)


def _after_quote(text: str, at: int) -> Slip | None:
    """A value that goes on after its closing quote is a text of which only a part is quoted."""
    before = text[_line_start(text, at) : at]
    quote = before.rstrip(" ")[-1:]
    if quote not in ("'", '"'):
        return None
    if quote == "'" and before[-1:] == "'" and text[at : at + 1].isalnum():
        return Slip(at, "the text goes on after its closing quote", "a quote inside `'…'` is doubled: `''`")
    key = _KEY.match(text, _line_start(text, at))
    return Slip(at, "the text goes on after its closing quote", _quoted(text, key.end()) if key else _WHOLE)


def _indented(text: str, at: int) -> Slip | None:
    if text[_line_start(text, at) : at].strip(" -"):
        return None
    return Slip(at, "this is indented unlike what it belongs to", "entries of one list or mapping begin at one column")


def _begin(text: str, at: int) -> int:
    """Return where the value begins in which this character stands."""
    line = text[_line_start(text, at) : at]
    found = max((match.end() for match in re.finditer(r"(?:: +|^ *- +|[\[{] *|, +)", line)), default=0)
    return _line_start(text, at) + found


def _quoted(text: str, begin: int) -> str:
    """Return the hint to quote the value that begins here, with the quotes, where it is plain where it ends."""
    before, rest = text[_line_start(text, begin) : begin], text[begin:].split("\n", 1)[0]
    if any(before.count(one) > before.count(two) for one, two in ("[]", "{}")):
        if any(one in rest for one in "'\"()"):
            return _WHOLE
        value = re.split(r"[,\[\]{}]", rest, maxsplit=1)[0].strip()
    else:
        value = re.split(r" #", rest, maxsplit=1)[0].strip()
    if not value or len(value) > _LONGEST:
        return _WHOLE
    return "quote it: '" + shown(value.replace("'", "''"), 2 * _LONGEST) + "'"


def _line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1
